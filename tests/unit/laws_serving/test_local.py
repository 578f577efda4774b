"""A sharded index on one machine, from measured unit costs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.laws import local

costs = st.floats(1e-6, 1e-1)


def test_by_hand() -> None:
    assert local.waves(5, 2) == 3
    assert local.flat_scan_s(1000, 128, 4, 5.12e8, 1e-4) == pytest.approx(1.1e-3)
    assert local.fan_out_s(2e-3, 4, 2, 0.25e-3, 0.06e-3) == pytest.approx(4.49e-3)
    assert local.queries_per_s(1e-3, 8, 2, 0.0) == pytest.approx(250)
    assert local.shards_search_s(1e-3, 4, 4, 1e9, 5e6) == pytest.approx(20e-3)
    assert local.coverage(8, 1) == 7 / 8
    assert local.expected_recall(0.96, 8, 1) == pytest.approx(0.84)
    assert local.flat_index_bytes(1000, 384) == 1_536_000


def test_encoder_flops_of_minilm() -> None:
    """Six layers of 384: 2 x 10.6 million a token, and 4 h s a layer for attention."""
    matrices = 6 * (4 * 384**2 + 2 * 384 * 1536)
    assert local.encoder_flops(1, 6, 384, 1536, 128) == 2 * matrices + 6 * 4 * 384 * 128


def test_embedding_rate_by_hand() -> None:
    flops = local.encoder_flops(128, 6, 384, 1536, 128)
    by_matmul = local.embedding_passages_per_s(128, 6, 384, 1536, 50e9)
    assert by_matmul == pytest.approx(50e9 / flops)
    assert local.embedding_passages_per_s(128, 6, 384, 1536, 50e9, fixed_s=1e-3) < by_matmul


@given(costs, st.integers(1, 64), st.integers(1, 64), costs, costs)
def test_p99_is_after_the_median_and_both_after_the_work(
    shard: float, n: int, cores: int, base: float, per: float
) -> None:
    median = local.fan_out_s(shard, n, cores, base, per)
    assert local.fan_out_p99_s(shard, n, cores, base, per, 0.3) >= median >= shard
    assert local.queries_per_s(shard, n, cores, per) * n * shard <= cores * (1 + 1e-9)


@given(costs, st.integers(1, 32), st.integers(1, 8))
def test_more_shards_of_the_same_size_take_longer(shard: float, n: int, cores: int) -> None:
    one = local.fan_out_p99_s(shard, n, cores, 1e-4, 1e-5, 0.0)
    assert one <= local.fan_out_p99_s(shard, n + 1, cores, 1e-4, 1e-5, 0.0)
