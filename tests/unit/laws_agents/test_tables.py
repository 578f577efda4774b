"""Embedding tables: hand-computed bytes, shards, and the exchange between them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.laws.embedding_step import StepRates, StepWork, step_time
from sextant.laws.exchange import Fabric, exchange_s, gradient_sum_s
from sextant.laws.tables import gather_bytes, optimizer_bytes, shards_for, table_bytes

FABRIC = Fabric(domain=8.0, fast_bytes_per_s=250e9, network_bytes_per_s=25e9, latency_s=1e-5)


def test_the_books_table_takes_1_024_tb() -> None:
    assert table_bytes(2e9, 128, 4) == 1.024e12


def test_optimizer_state_by_hand() -> None:
    assert optimizer_bytes(1000, 16, 0.0, row_wise=True) == 4000.0
    assert optimizer_bytes(1000, 16, 2.0, row_wise=False) == 1000 * 16 * 2 * 4
    assert optimizer_bytes(1000, 16, 0.0, row_wise=False) == 0.0


@pytest.mark.parametrize(("total", "shards"), [(1.0, 1), (68e9, 1), (68.1e9, 2), (1.032e12, 16)])
def test_shards_for_capacity(total: float, shards: int) -> None:
    assert shards_for(total, 68e9) == shards


@given(st.floats(1, 1e30), st.floats(1, 1e15))
def test_shards_hold_what_they_must(total: float, usable: float) -> None:
    shards = shards_for(total, usable)
    assert shards * usable >= total * (1 - 1e-9)
    assert (shards - 1) * usable < total * (1 + 1e-9)


def test_a_step_gathers_exactly_the_rows_it_touches() -> None:
    assert gather_bytes(6_553_600, 512) == 3_355_443_200


def test_exchange_in_one_domain_and_out_of_it_by_hand() -> None:
    # 8 shards in one domain: 3 doublings of latency, 7/8 of 2 MB at 250 GB/s.
    assert exchange_s(2e6, 8, FABRIC) == pytest.approx(3e-5 + 2e6 * 7 / 8 / 250e9)
    # 16 shards in two domains: half leaves through the network at 25 GB/s.
    assert exchange_s(2e6, 16, FABRIC) == pytest.approx(4e-5 + 2e6 / 2 / 25e9)
    assert exchange_s(2e6, 1, FABRIC) == 0.0


def test_gradient_sum_by_hand() -> None:
    inside = 2 * 1e8 * 7 / 8 / 250e9
    outside = 2 * (1e8 / 8) * (1 / 2) / 25e9
    assert gradient_sum_s(1e8, 16, FABRIC) == pytest.approx(4e-5 + inside + outside)
    assert gradient_sum_s(1e8, 1, FABRIC) == 0.0


@given(st.floats(0, 1e12), st.integers(1, 10_000))
def test_exchange_grows_with_its_bytes(sent: float, shards: int) -> None:
    assert exchange_s(sent, shards, FABRIC) <= exchange_s(2 * sent + 1, shards, FABRIC)


def _work(lookups: float) -> StepWork:
    return StepWork(
        lookups=lookups,
        distinct_rows=lookups / 2,
        row_bytes=512,
        state_row_bytes=4,
        exchanged_bytes=lookups * 25,
        dense_flops=1e12,
        dense_gradient_bytes=0.0,
        sample_bytes=1e6,
    )


RATES = StepRates(
    gather_bytes_per_s=1e12,
    flops_per_s=1e14,
    read_bytes_per_s=1e9,
    fabric=FABRIC,
    overhead_s=1e-3,
)


def test_a_step_by_hand_on_one_accelerator() -> None:
    time = step_time(_work(1e6), RATES, 1.0)
    assert time.gather_s == pytest.approx((1e6 * 512 + 2 * 5e5 * 516) / 1e12)
    assert time.dense_s == pytest.approx(0.01)
    assert time.exchange_s == 0.0
    assert time.read_s == pytest.approx(1e-3)
    assert time.total_s == pytest.approx(time.gather_s + 0.01 + 1e-3)


@given(st.floats(1, 1e9), st.integers(1, 1000))
def test_a_step_is_no_shorter_than_its_longest_part(lookups: float, shards: int) -> None:
    time = step_time(_work(lookups), RATES, float(shards))
    assert time.total_s >= max(time.gather_s, time.dense_s, time.exchange_s, time.read_s)
