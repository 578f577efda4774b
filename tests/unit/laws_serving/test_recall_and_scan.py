"""Recall, scans and one shard's rate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.laws import recall, scan

DEEP1B = {1: 0.3167, 2: 0.448, 4: 0.586, 8: 0.715, 16: 0.8195, 32: 0.8985, 64: 0.9525, 128: 0.983}
"""Recall by probes over its plateau: NeurIPS'21 challenge, track 1, Faiss on Deep1B."""


@pytest.mark.parametrize(("probes", "measured"), DEEP1B.items())
def test_probed_recall_of_deep1b(probes: int, measured: float) -> None:
    assert recall.probed_recall(probes, 5.8) == pytest.approx(measured, abs=0.03)


@given(st.floats(0.01, 0.9998), st.floats(0.1, 100))
def test_probes_invert_recall(wanted: float, scale: float) -> None:
    found = recall.probed_recall(recall.probes_for(wanted, scale), scale)
    assert found == pytest.approx(wanted, rel=1e-9)


def test_a_lost_shard() -> None:
    assert recall.lost_shard_recall(50) == pytest.approx(0.02)
    assert recall.lost_shard_recall(1) == 1.0
    assert recall.partial_recall(0.95, 7 / 8) == pytest.approx(0.83125)


@given(st.integers(1, 1000), st.integers(1, 1000))
def test_a_shard_is_asked_for_no_more_than_k(k: int, shards: int) -> None:
    assert k / shards <= recall.neighbours_per_shard(k, shards) <= k


def test_lists_scanned_by_hand() -> None:
    assert scan.inverted_list_vectors(1e9, 1000, 10, 5) == 2e6
    assert scan.inverted_list_vectors(100, 10, 50) == 100


def test_graph_distances_by_hand() -> None:
    """M / 2 (ef + log_M n) = 16 x (64 + 4)."""
    assert scan.graph_vectors(32**4, 64, 32) == pytest.approx(16 * 68)
    assert scan.graph_vectors(10, 64, 32) == 10


def test_reads_by_hand() -> None:
    assert scan.sequential_read_s(8e9, 8e9, 0.5) == 1.5
    assert scan.random_read_s(1000, 800, 8e9, 100e-9) == pytest.approx(200e-6)


@given(st.floats(1e-6, 10), st.floats(1, 256), st.floats(1, 1e12), st.floats(1e6, 1e12))
def test_a_shard_beats_no_roofline(
    thread_s: float, cores: float, read: float, bandwidth: float
) -> None:
    found = scan.queries_per_s(thread_s, cores, read, bandwidth)
    assert found * read <= bandwidth * (1 + 1e-9)
    assert found * thread_s <= cores * (1 + 1e-9)
