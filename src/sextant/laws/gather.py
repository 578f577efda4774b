"""Fan-out and gather: the slowest of N, and what the messages cost."""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist

_NORMAL = NormalDist()


@cache
def slowest_tail_sigmas(num_members: float, probability: float) -> float:
    """Standard deviations above the median that the slowest of N is below with a probability.

    All of N independent members are below x with `F(x)^N`, so the quantile of the slowest is
    that of one member at `p^(1/N)`: for p = 0.99 and N = 100, at 0.9999. Computed from the upper
    tail `1 - p^(1/N) = -expm1(ln p / N)`, which stays exact where `p^(1/N)` rounds to 1.
    Source: order statistics, David and Nagaraja 2003, section 2.1.
    """
    tail = -math.expm1(math.log(probability) / max(1.0, num_members))
    return -_NORMAL.inv_cdf(max(tail, 1e-300))


def slowest_s(
    median_s: float, log_sigma: float, num_members: float, probability: float = 0.99
) -> float:
    """Quantile of the time of the slowest of N members with lognormal times.

    `median x exp(sigma x z)` with z from `slowest_tail_sigmas`. With sigma = 0.99 (a leaf's p99
    is ten times its median) one slow member in a hundred becomes the rule at the root.
    Source: Dean and Barroso 2013, The Tail at Scale, CACM 56(2).
    """
    return median_s * math.exp(log_sigma * slowest_tail_sigmas(num_members, probability))


def on_time_fraction(
    median_s: float, log_sigma: float, allowed_s: float, available: float = 1.0
) -> float:
    """Share of the members that answer within `allowed_s`: the expected coverage.

    Lognormal: `available x Phi(ln(allowed/median) / sigma)`.
    Source: the distribution function of a lognormal.
    """
    if allowed_s <= 0.0:
        return 0.0
    if median_s <= 0.0:
        return available
    if log_sigma <= 0.0:
        return available if allowed_s >= median_s else 0.0
    return available * _NORMAL.cdf(math.log(allowed_s / median_s) / log_sigma)


def hedged_slowest_s(
    median_s: float,
    log_sigma: float,
    num_members: float,
    hedge_at: float = 0.95,
    probability: float = 0.99,
) -> float:
    """`slowest_s` where a member that is later than its p95 is asked again of another replica.

    Late at t means that both are: `S(t) S(t - t95)`, with S the lognormal survival; solved by
    bisection for `(1 - late)^N = p`. Costs 5% more requests.
    Source: Dean and Barroso 2013, hedged requests.
    """
    if log_sigma <= 0.0 or median_s <= 0.0:
        return median_s
    ask_again = slowest_s(median_s, log_sigma, 1.0, hedge_at)
    tail = -math.expm1(math.log(probability) / max(1.0, num_members))

    def late(t: float) -> float:
        first = _survival(t, median_s, log_sigma)
        return first * (_survival(t - ask_again, median_s, log_sigma) if t > ask_again else 1.0)

    low, high = 0.0, slowest_s(median_s, log_sigma, num_members, probability)
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if late(middle) > tail else (low, middle)
    return high


def _survival(t: float, median_s: float, log_sigma: float) -> float:
    return _NORMAL.cdf(-math.log(t / median_s) / log_sigma) if t > 0.0 else 1.0


def tree_levels(num_members: float, largest_fan_out: float) -> int:
    """Levels of a fan-out in which nobody asks more than `largest_fan_out` others."""
    if num_members <= largest_fan_out:
        return 1
    return math.ceil(math.log(num_members) / math.log(largest_fan_out) - 1e-9)


def fan_out_messages_s(
    num_members: float, base_s: float, per_member_s: float, largest_fan_out: float = 128.0
) -> float:
    """Time that asking N members and hearing from them takes, without their work.

    A line through measurements, `base + N x per_member`: one sender writes N messages and reads
    N answers. Beyond `largest_fan_out` a tree of equal branching, `levels x (base + b x per)`.
    Source: the line is measured (`fan_out_base_s`); trees: Dean and Barroso 2013.
    """
    levels = tree_levels(num_members, largest_fan_out)
    branch = max(1.0, num_members) ** (1.0 / levels)
    return levels * (base_s + float(branch) * per_member_s)


def merge_s(num_members: float, k: float, compare_s: float) -> float:
    """Time of a k-way merge of N sorted lists of k: `(N + k) log2(N) x compare`.

    A heap of the N heads is built and k results are drawn from it.
    Source: Knuth, The Art of Computer Programming 3, section 5.4.1.
    """
    heads = max(1.0, num_members)
    return (heads + k) * max(1.0, math.log2(heads)) * compare_s
