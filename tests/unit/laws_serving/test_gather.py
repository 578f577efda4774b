"""The slowest of N: hand-computed quantiles, Dean and Barroso's table, and monotone."""

from __future__ import annotations

import math
import random
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.laws import gather

sigmas = st.floats(0.01, 2)
members = st.floats(1, 1e25)


def test_slowest_of_one_is_its_own_p99() -> None:
    assert gather.slowest_s(1.0, 1.0, 1) == pytest.approx(math.exp(2.3263), rel=1e-4)


def test_slowest_of_a_hundred_is_the_9999th() -> None:
    quantile = NormalDist().inv_cdf(0.99 ** (1 / 100))
    assert gather.slowest_tail_sigmas(100, 0.99) == pytest.approx(quantile, rel=1e-9)


def test_leaf_of_the_tail_at_scale() -> None:
    """Table 1: a leaf's median is 1 ms, its p95 5 ms and p99 10 ms: sigma 0.99 says both."""
    sigma = math.log(10) / 2.3263
    assert gather.slowest_s(1e-3, sigma, 1, 0.95) == pytest.approx(5e-3, rel=0.03)


def test_slowest_against_a_simulation() -> None:
    chance = random.Random(1)
    slowest = sorted(max(chance.lognormvariate(0.0, 0.5) for _ in range(50)) for _ in range(4000))
    assert gather.slowest_s(1.0, 0.5, 50, 0.5) == pytest.approx(slowest[2000], rel=0.03)
    assert gather.slowest_s(1.0, 0.5, 50) == pytest.approx(slowest[3960], rel=0.08)


@given(members, members, sigmas)
def test_more_members_are_slower(a: float, b: float, sigma: float) -> None:
    few, many = sorted((a, b))
    assert gather.slowest_s(1.0, sigma, few) <= gather.slowest_s(1.0, sigma, many) < math.inf


@given(st.floats(1, 1e6), sigmas)
def test_hedging_never_makes_it_later(n: float, sigma: float) -> None:
    assert gather.hedged_slowest_s(1.0, sigma, n) <= gather.slowest_s(1.0, sigma, n) * (1 + 1e-9)


def test_hedging_against_a_simulation() -> None:
    chance = random.Random(2)
    ask = math.exp(0.8 * NormalDist().inv_cdf(0.95))

    def one() -> float:
        first = chance.lognormvariate(0.0, 0.8)
        return first if first <= ask else min(first, ask + chance.lognormvariate(0.0, 0.8))

    slowest = sorted(max(one() for _ in range(20)) for _ in range(5000))
    assert gather.hedged_slowest_s(1.0, 0.8, 20) == pytest.approx(slowest[4950], rel=0.1)


@given(st.floats(1e-6, 1), sigmas, st.floats(0, 10), st.floats(0, 10))
def test_coverage_grows_with_the_time_allowed(m: float, sigma: float, a: float, b: float) -> None:
    early, late = sorted((a, b))
    low = gather.on_time_fraction(m, sigma, early)
    assert 0.0 <= low <= gather.on_time_fraction(m, sigma, late) <= 1.0


def test_half_of_the_shards_answer_by_the_median() -> None:
    assert gather.on_time_fraction(2e-3, 0.4, 2e-3, available=0.9) == pytest.approx(0.45)


def test_messages_are_a_line_and_then_a_tree() -> None:
    assert gather.fan_out_messages_s(16, 0.25e-3, 0.06e-3) == pytest.approx(1.21e-3)
    assert gather.tree_levels(128, 128) == 1
    assert gather.tree_levels(129, 128) == 2
    two = gather.fan_out_messages_s(128**2, 1e-3, 1e-5)
    assert two == pytest.approx(2 * (1e-3 + 128e-5))


@given(members)
def test_a_tree_of_any_size_is_bounded(n: float) -> None:
    assert gather.fan_out_messages_s(n, 1e-3, 1e-4) <= 0.0139 * gather.tree_levels(n, 128)


def test_merge_by_hand() -> None:
    assert gather.merge_s(8, 10, 1e-6) == pytest.approx(18 * 3 * 1e-6)
