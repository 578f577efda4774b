"""Failures, checkpoints and wide links: closed forms, exact optima, published points."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sextant.laws.failures import (
    elastic_worth_s,
    expected_s,
    goodput,
    mtbf_s,
    optimal_interval_s,
    slowed_by,
    young_daly_s,
)
from sextant.laws.wan import (
    all_reduce_s,
    diloco_round,
)

SAVES = st.floats(0.1, 3600.0)
MEANS = st.floats(60.0, 1e7)


def test_rates_add() -> None:
    # Kokolis et al. 2025: 6.50 failures per 1,000 node-days; 16,384 GPUs are 2,048 nodes: 1.8 h.
    rate = 6.5 / 1000 / 86400
    assert mtbf_s(2048, rate) == pytest.approx(1.8 * 3600, rel=0.01)
    assert mtbf_s(0, rate) == math.inf


def test_young_and_daly_by_hand() -> None:
    assert young_daly_s(50.0, 10_000.0) == pytest.approx(1000.0)


@given(save=SAVES, mean=MEANS)
def test_the_exact_interval_is_the_best(save: float, mean: float) -> None:
    assume(save < 100.0 * mean)
    best = optimal_interval_s(save, mean)
    assert 0.0 < best <= mean

    def per_work(interval: float) -> float:
        return expected_s(interval, save, 30.0, mean) / interval

    at_best = per_work(best)
    for factor in (0.8, 0.95, 1.05, 1.25):
        assert per_work(best * factor) >= at_best * (1.0 - 1e-9)


@given(mean=st.floats(1e5, 1e8))
def test_young_is_its_limit_for_short_saves(mean: float) -> None:
    save = mean * 1e-7
    assert optimal_interval_s(save, mean) == pytest.approx(young_daly_s(save, mean), rel=1e-3)


@given(save=SAVES, mean=MEANS, restart=st.floats(0.0, 3600.0))
def test_shares_sum_to_one(save: float, mean: float, restart: float) -> None:
    found = goodput(mtbf=mean, save_s=save, restart_s=restart)
    assert found.total == pytest.approx(1.0)
    shares = (found.useful, found.checkpoint, found.lost, found.restart)
    assert all(0.0 <= share <= 1.0 for share in shares)
    worse = goodput(mtbf=mean, save_s=save, restart_s=restart, interval_s=found.interval_s * 2.0)
    assert worse.useful <= found.useful + 1e-9


def test_no_failures_no_loss() -> None:
    found = goodput(mtbf=math.inf, save_s=60.0, restart_s=600.0)
    assert (found.useful, found.lost, found.interval_s) == (1.0, 0.0, math.inf)
    assert expected_s(100.0, 5.0, 60.0, math.inf) == 105.0
    assert optimal_interval_s(0.0, 1000.0) == 0.0


def test_expected_time_by_hand() -> None:
    # M (e^((T+C)/M) - 1) with T + C = M and no restart.
    assert expected_s(900.0, 100.0, 0.0, 1000.0) == pytest.approx(1000.0 * (math.e - 1.0))


def test_stragglers_by_hand() -> None:
    assert slowed_by(1.0, 0.5, 0.4) == pytest.approx(1.2)
    assert slowed_by(2.0, 0.5, 0.4) == pytest.approx(1.3)
    assert slowed_by(1e9, 0.5, 0.4) == pytest.approx(1.4)
    assert slowed_by(3.0, 1.0, 0.4) == 1.4
    assert slowed_by(1e6, 0.0, 0.4) == 1.0
    plain = goodput(mtbf=1e5, save_s=60.0, restart_s=600.0)
    found = goodput(mtbf=1e5, save_s=60.0, restart_s=600.0, slowed=1.25)
    assert found.useful == pytest.approx(plain.useful / 1.25)
    assert found.slow == pytest.approx(plain.useful / 5.0)
    assert found.total == pytest.approx(1.0)
    assert goodput(mtbf=math.inf, save_s=60.0, restart_s=6.0, slowed=1.25).useful == 0.8


def test_a_ring_between_sites_by_hand() -> None:
    # 2 x 3/4 x 4 GB over 125 MB/s, and three round trips.
    assert all_reduce_s(4e9, 4, 125e6, 0.1) == pytest.approx(48.0 + 0.3)
    assert all_reduce_s(4e9, 1, 125e6, 0.1) == 0.0


def test_diloco_rarely_waits() -> None:
    # OpenDiLoCo, arXiv 2407.07852: 1.1B parameters, four sites, 500 inner steps, 90 to 95%.
    found = diloco_round(
        parameters=1.1e9,
        sites=4,
        inner_steps=500,
        inner_step_s=8.0,
        link_bytes_per_s=500e6 / 8,
        bytes_per_parameter=2.0,
    )
    assert 0.90 <= found.utilisation <= 0.99
    assert found.total_s == pytest.approx(found.inner_s + found.exposed_s)
    hidden = diloco_round(
        parameters=1.1e9,
        sites=4,
        inner_steps=500,
        inner_step_s=8.0,
        link_bytes_per_s=500e6 / 8,
        overlapped_fraction=1.0,
    )
    assert hidden.exposed_s == 0.0


def test_going_on_with_fewer_is_worth_it_where_waiting_costs_as_much() -> None:
    restart_s, share = 660.0, 0.25
    away_s = elastic_worth_s(restart_s, share)
    wait_s = away_s + restart_s
    go_on_s = restart_s + share * away_s + restart_s
    assert wait_s == pytest.approx(go_on_s)
    assert elastic_worth_s(restart_s, 1.0) == math.inf
