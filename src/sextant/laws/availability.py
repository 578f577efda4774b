"""Availability of parts in parallel and in series, and of k out of n."""

from __future__ import annotations

import math


def any_of(available: float, replicas: float) -> float:
    """Probability that at least one of the replicas is up: `1 - (1 - a)^r`.

    Source: reliability of parallel parts; failures taken as independent.
    """
    if available >= 1.0:
        return 1.0
    return -math.expm1(replicas * math.log1p(-available))


def all_of(available: float, parts: float) -> float:
    """Probability that all parts are up: `a^n`.

    Source: reliability of parts in series; failures taken as independent.
    """
    if available <= 0.0:
        return 0.0
    return math.exp(max(-700.0, parts * math.log(available)))


def replicas_for(available: float, wanted: float) -> int:
    """Fewest replicas with which at least one is up with the wanted probability.

    `ceil(ln(1 - wanted) / ln(1 - a))`, from `any_of`.
    """
    if available >= 1.0 or wanted <= 0.0:
        return 1
    exact = math.log1p(-min(wanted, 1.0 - 1e-15)) / math.log1p(-available)
    return max(1, math.ceil(exact - 1e-9))


def at_least(needed: float, parts: float, available: float) -> float:
    """Probability that at least k of n are up: a binomial tail.

    Exact up to 2,000 parts, then a normal with a continuity correction.
    Source: Barlow and Proschan 1975, section 1.2 (k-out-of-n systems).
    """
    if needed <= 0.0:
        return 1.0
    if needed > parts:
        return 0.0
    if available >= 1.0:
        return 1.0
    if parts <= 2000.0:
        return _binomial_tail(math.ceil(needed), math.floor(parts), available)
    spread = math.sqrt(parts * available * (1.0 - available))
    z = (parts * available - needed + 0.5) / max(spread, 1e-300)
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


def _binomial_tail(needed: int, parts: int, available: float) -> float:
    down = math.log1p(-available)
    up = math.log(max(available, 1e-300))
    total = 0.0
    for k in range(needed, parts + 1):
        choose = math.lgamma(parts + 1) - math.lgamma(k + 1) - math.lgamma(parts - k + 1)
        total += math.exp(choose + k * up + (parts - k) * down)
    return min(1.0, total)
