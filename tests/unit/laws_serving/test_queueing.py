"""Queues: textbook values and bounds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.laws import queueing

loads = st.floats(0, 0.99)


def test_one_server_waits_with_its_load() -> None:
    assert queueing.erlang_c(1, 0.7) == pytest.approx(0.7)


def test_two_servers_by_hand() -> None:
    """C = 2 rho^2 / (1 + rho): at 0.5, 1/3."""
    assert queueing.erlang_c(2, 0.5) == pytest.approx(1 / 3)


def test_mean_wait_of_one_server() -> None:
    """M/M/1: rho s / (1 - rho) = 0.8 x 1 / 0.2."""
    assert queueing.mean_wait_s(1, 0.8, 1.0, 1.0, 1.0) == pytest.approx(4.0)
    assert queueing.mean_wait_s(1, 0.8, 1.0, 1.0, 0.0) == pytest.approx(2.0)


def test_p99_wait_of_one_server() -> None:
    """P(W > t) = 0.8 e^(-0.2 t), so t = ln(80) / 0.2."""
    assert queueing.wait_quantile_s(1, 0.8, 1.0, 1.0, 1.0) == pytest.approx(math.log(80) / 0.2)


def test_many_servers_meet_the_limit() -> None:
    exact, limit = queueing.erlang_c(1999, 0.98), queueing.erlang_c(2001, 0.98)
    assert exact == pytest.approx(limit, rel=0.05)


@given(st.integers(1, 500), loads, loads)
def test_wait_grows_with_load(c: int, a: float, b: float) -> None:
    light, heavy = sorted((a, b))
    low, high = queueing.erlang_c(c, light), queueing.erlang_c(c, heavy)
    assert 0.0 <= low <= high + 1e-12 <= 1.0 + 1e-9


@given(st.floats(1, 1e25), st.floats(0, 5), st.floats(0, 1e30))
def test_never_infinite(c: float, load: float, service: float) -> None:
    assert math.isfinite(queueing.mean_wait_s(c, load, service, 1.0, 1.0))
    assert math.isfinite(queueing.wait_quantile_s(c, load, service, 1.0, 1.0))
