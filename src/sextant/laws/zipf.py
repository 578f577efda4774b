"""Zipf's law of popularity: few rows take most look-ups, so a step touches fewer rows than ids.

Rank `r` of `R` is drawn with probability `r^-s / H(R, s)`, `H` the generalised harmonic number.
The laws cost the same for ten rows and for 10^27: a short exact sum, then an integral.
"""

from __future__ import annotations

import math
from collections.abc import Callable

_EXACT = 64
"""Ranks summed one by one before the integral takes over."""
# Gauss-Legendre, 8 points on [-1, 1] (Abramowitz and Stegun 1964, table 25.4).
_NODES = (0.1834346424956498, 0.5255324099163290, 0.7966664774136267, 0.9602898564975363)
_WEIGHTS = (0.3626837833783620, 0.3137066458778873, 0.2223810344533745, 0.1012285362903763)


def harmonic(count: float, exponent: float) -> float:
    """The generalised harmonic number `sum of r^-s for r = 1..count`.

    Euler-Maclaurin from rank 64 on: the integral of `x^-s`, half of both ends, and the first
    derivative's term `s (a^(-s-1) - b^(-s-1)) / 12`. Known error: below 10^-9 relative.
    Source: Apostol 1999, An Elementary View of Euler's Summation Formula, Am. Math. Monthly 106.
    """
    whole = math.floor(count)
    head = math.fsum(math.pow(rank, -exponent) for rank in range(1, min(whole, _EXACT) + 1))
    if whole <= _EXACT:
        return head
    first, last = float(_EXACT), float(whole)
    ends = (math.pow(last, -exponent) - math.pow(first, -exponent)) / 2.0
    slope = exponent * (math.pow(first, -exponent - 1.0) - math.pow(last, -exponent - 1.0)) / 12.0
    return head + _power_integral(first, last, exponent) + ends + slope


def _power_integral(first: float, last: float, exponent: float) -> float:
    """Integral of `x^-s` from first to last, smooth through s = 1."""
    log_ratio, rest = math.log(last / first), 1.0 - exponent
    if abs(rest * log_ratio) < 1e-12:
        return math.pow(first, rest) * log_ratio
    return math.pow(first, rest) * math.expm1(rest * log_ratio) / rest


def expected_distinct(rows: float, draws: float, exponent: float) -> float:
    """Distinct rows that `draws` independent look-ups touch: `sum of 1 - (1 - p_r)^n`.

    Row r is missed by all n draws with probability `(1 - p_r)^n`; expectations add. Beyond rank
    64 the sum is an integral over unit cells, by Gauss-Legendre on each octave.
    Known error: below 10^-3 relative (checked against direct sums and a simulation).
    Source: Johnson and Kotz 1977, Urn Models and Their Application, section 3.2.
    """
    total = harmonic(max(1.0, rows), exponent)

    def touched(rank: float) -> float:
        return _seen(math.pow(rank, -exponent) / total, draws)

    return min(_sum(touched, rows), max(1.0, math.floor(rows)), max(draws, 1.0))


def lru_share(rows: float, kept: float, exponent: float) -> float:
    """The share of look-ups that a cache of `kept` rows hits when it drops the least recent one.

    Che's approximation: a row stays for the same number T of look-ups, whatever its popularity,
    with T such that `kept` rows are seen in T look-ups; a row is hit with `1 - (1 - p)^T`.
    Known error: below 0.02 from a hundred rows on; too high for a handful.
    Source: Che, Tung, Wang 2002, Hierarchical Web Caching Systems, IEEE JSAC 20(7), section III.
    """
    if kept >= rows:
        return 1.0
    total = harmonic(max(1.0, rows), exponent)
    low, high = math.log(max(1e-9, kept)), math.log(max(1.0, kept)) + 1.0
    while expected_distinct(rows, math.exp(high), exponent) < kept and high < 600.0:
        high += 4.0
    for _ in range(24):
        middle = (low + high) / 2.0
        if expected_distinct(rows, math.exp(middle), exponent) < kept:
            low = middle
        else:
            high = middle

    def hit(rank: float) -> float:
        chance = math.pow(rank, -exponent) / total
        return chance * _seen(chance, math.exp(high))

    return min(1.0, _sum(hit, rows))


def _seen(chance: float, draws: float) -> float:
    return 1.0 if chance >= 1.0 else -math.expm1(draws * math.log1p(-chance))


def _sum(function: Callable[[float], float], rows: float) -> float:
    """Sum of a smooth falling function over the ranks 1..rows."""
    whole = max(1.0, math.floor(rows))
    head = math.fsum(function(float(r)) for r in range(1, int(min(whole, _EXACT)) + 1))
    if whole <= _EXACT:
        return head
    return head + _octaves(function, _EXACT + 0.5, whole + 0.5)


def _octaves(function: Callable[[float], float], first: float, last: float) -> float:
    """Integral of a smooth falling function over [first, last], in octaves."""
    panels = max(1, math.ceil(math.log2(last / first)))
    step = math.log(last / first) / panels
    parts = []
    for panel in range(panels):
        low = math.log(first) + panel * step
        middle, half = low + step / 2.0, step / 2.0
        for node, weight in zip(_NODES, _WEIGHTS, strict=True):
            for sign in (-1.0, 1.0):
                x = math.exp(middle + sign * half * node)
                parts.append(weight * half * x * function(x))
    return math.fsum(parts)


def top_share(rows: float, kept: float, exponent: float) -> float:
    """The share of look-ups that fall on the `kept` most popular rows: `H(kept) / H(rows)`.

    A cache that always holds the most popular rows hits this often, and under independent look-ups
    no cache of that size can hit more often.
    Source: Breslau et al. 1999, Web Caching and Zipf-like Distributions, INFOCOM, section III.
    """
    held = min(max(0.0, kept), rows)
    if held < 1.0:
        return held / harmonic(rows, exponent)
    return min(1.0, harmonic(held, exponent) / harmonic(rows, exponent))
