"""Zipf's law: against direct sums, against a simulation, and its bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sextant.laws.zipf import expected_distinct, harmonic, lru_share, top_share

EXPONENTS = (0.3, 0.8, 1.0, 1.05, 1.7, 3.0)


@pytest.mark.parametrize("exponent", EXPONENTS)
@pytest.mark.parametrize("count", [1, 2, 64, 65, 1000, 100_000])
def test_harmonic_is_the_sum(count: int, exponent: float) -> None:
    exact = math.fsum(rank**-exponent for rank in range(1, count + 1))
    assert harmonic(count, exponent) == pytest.approx(exact, rel=1e-9)


def test_harmonic_by_hand() -> None:
    assert harmonic(3, 1.0) == pytest.approx(1 + 1 / 2 + 1 / 3)
    assert harmonic(1e12, 2.0) == pytest.approx(math.pi**2 / 6, rel=1e-9)


@pytest.mark.parametrize("exponent", EXPONENTS)
@pytest.mark.parametrize("draws", [1, 50, 5000, 1e6])
def test_distinct_is_the_sum(draws: float, exponent: float) -> None:
    p = np.arange(1, 20_001, dtype=float) ** -exponent
    p /= p.sum()
    with np.errstate(divide="ignore"):
        exact = float(np.sum(-np.expm1(draws * np.log1p(-p))))
    assert expected_distinct(20_000, draws, exponent) == pytest.approx(exact, rel=1e-3)


def test_distinct_by_hand() -> None:
    # Two rows with p = 2/3 and 1/3, two draws: 1 - 1/9 + 1 - 4/9 = 13/9.
    assert expected_distinct(2, 2, 1.0) == pytest.approx(13 / 9)
    assert expected_distinct(1, 10, 1.0) == 1.0


def test_distinct_against_a_simulation() -> None:
    generator = np.random.default_rng(7)
    rows, draws, exponent = 2000, 3000, 1.05
    p = np.arange(1, rows + 1, dtype=float) ** -exponent
    p /= p.sum()
    seen = [len(np.unique(generator.choice(rows, draws, p=p))) for _ in range(200)]
    error = 4 * float(np.std(seen)) / math.sqrt(len(seen))
    assert abs(expected_distinct(rows, draws, exponent) - float(np.mean(seen))) < error


def test_the_recommenders_step_is_fast_to_size() -> None:
    distinct = expected_distinct(2e9, 65_536 * 100, 1.05)
    assert 1.5e6 < distinct < 2.5e6


@given(st.floats(1, 1e27), st.floats(0, 1e30), st.floats(0.01, 4))
def test_distinct_is_bounded(rows: float, draws: float, exponent: float) -> None:
    distinct = expected_distinct(rows, draws, exponent)
    assert 0.0 <= distinct <= min(rows, max(draws, 1.0)) * (1 + 1e-9)


@given(st.floats(1, 1e12), st.floats(1, 1e12), st.floats(0.01, 4))
def test_more_draws_touch_no_fewer_rows(rows: float, draws: float, exponent: float) -> None:
    more = expected_distinct(rows, 2 * draws, exponent)
    assert more >= expected_distinct(rows, draws, exponent) * (1 - 1e-6)


def test_top_share_by_hand() -> None:
    assert top_share(3, 1, 1.0) == pytest.approx(6 / 11)
    assert top_share(3, 3, 1.0) == 1.0
    assert top_share(10, 0, 1.0) == 0.0


@given(st.floats(200, 1e12), st.floats(0.02, 1), st.floats(0.05, 3))
@settings(max_examples=40, deadline=None)
def test_no_cache_beats_the_most_popular_rows(rows: float, share: float, exponent: float) -> None:
    kept = max(1.0, share * rows)
    best = top_share(rows, kept, exponent)
    assert 0.0 <= best <= 1.0
    assert lru_share(rows, kept, exponent) <= best + 0.02


def test_lru_against_a_simulation() -> None:
    generator = np.random.default_rng(3)
    rows, kept, exponent = 1000, 100, 0.9
    p = np.arange(1, rows + 1, dtype=float) ** -exponent
    p /= p.sum()
    cache: dict[int, None] = {}
    hits = 0
    draws = generator.choice(rows, 40_000, p=p).tolist()
    for index, row in enumerate(draws):
        hits += row in cache and index >= 5000
        cache.pop(row, None)
        cache[row] = None
        if len(cache) > kept:
            del cache[next(iter(cache))]
    assert lru_share(rows, kept, exponent) == pytest.approx(hits / 35_000, abs=0.015)
