"""Parts in parallel, in series, and k of n."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.laws import availability

shares = st.floats(0.01, 0.9999)


def test_by_hand() -> None:
    assert availability.any_of(0.9, 2) == pytest.approx(0.99)
    assert availability.all_of(0.9, 2) == pytest.approx(0.81)
    assert availability.at_least(2, 3, 0.9) == pytest.approx(3 * 0.81 * 0.1 + 0.729)
    assert availability.replicas_for(0.9, 0.999) == 3


@given(shares, st.floats(0, 0.999999))
def test_replicas_suffice_and_one_fewer_do_not(a: float, wanted: float) -> None:
    n = availability.replicas_for(a, wanted)
    assert availability.any_of(a, n) >= wanted - 1e-9
    assert n == 1 or availability.any_of(a, n - 1) < wanted + 1e-9


@given(st.integers(1, 40), st.integers(0, 20), shares)
def test_spares_only_help(needed: int, spare: int, a: float) -> None:
    few = availability.at_least(needed, needed + spare, a)
    more = availability.at_least(needed, needed + spare + 1, a)
    assert -1e-9 <= few <= more + 1e-9 <= 1 + 1e-8


def test_the_normal_meets_the_binomial() -> None:
    exact = availability.at_least(1780, 2000, 0.9)
    assert availability.at_least(1780.9, 2001, 0.9) == pytest.approx(exact, abs=0.01)
