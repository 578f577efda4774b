"""Control loops, safe speed, and what an outage stops."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.laws.control import break_even_round_trip_s, left_s, max_safe_speed_m_per_s
from sextant.laws.outage import all_down_probability, in_series

times = st.floats(0, 100)


def test_the_books_edge_server_leaves_42_ms() -> None:
    assert left_s(0.050, 0.008) == 0.042


@given(st.floats(0.001, 100), times, times)
def test_the_break_even_round_trip_leaves_nothing(period: float, see: float, act: float) -> None:
    trip = break_even_round_trip_s(period, see, act)
    assert left_s(period, see, act, trip) == pytest.approx(0.0, abs=1e-9)


def test_safe_speed_by_hand() -> None:
    # 2 sqrt(0.5 / 50) = 0.2 s; 8 m / (0.066 + 0.2) s = 30.08 m/s
    speed = max_safe_speed_m_per_s(
        latency_s=0.066, sensing_range_m=8.0, radius_m=0.5, acceleration_m_per_s2=50.0
    )
    assert speed == pytest.approx(8.0 / 0.266)


@given(
    st.floats(0, 10),
    st.floats(0.1, 1000),
    st.floats(0.01, 10),
    st.floats(0.1, 100),
    st.floats(0, 1),
)
def test_safe_speed_meets_falangas_bound(
    latency: float, sensing: float, radius: float, push: float, more: float
) -> None:
    def speed(delay: float) -> float:
        return max_safe_speed_m_per_s(
            latency_s=delay, sensing_range_m=sensing, radius_m=radius, acceleration_m_per_s2=push
        )

    v = speed(latency)
    assert latency == pytest.approx(sensing / v - 2 * math.sqrt(radius / push), abs=1e-6)
    assert speed(latency + more) <= v


def test_series_and_parallel_by_hand() -> None:
    assert in_series(0.995, 0.999) == pytest.approx(0.994005)
    assert all_down_probability(0.9, 3) == pytest.approx(1e-3)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_a_chain_is_no_better_than_its_worst_link(parts: list[float]) -> None:
    assert in_series(*parts) <= min(parts)


@given(st.floats(0, 1), st.integers(1, 1000))
def test_more_agents_stop_together_no_more_often(available: float, count: int) -> None:
    assert all_down_probability(available, count + 1) <= all_down_probability(available, count)
