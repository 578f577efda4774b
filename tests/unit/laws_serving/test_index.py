"""Bytes of an index: hand-computed against Faiss' documentation, and monotone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.laws import index

counts = st.floats(1, 1e12)


def test_raw_vectors_of_the_book_are_30_72_terabytes() -> None:
    assert 1e10 * index.flat_bytes_per_vector(768, 4) == pytest.approx(30.72e12, rel=1e-12)


def test_hnsw_is_faiss_documented_4d_plus_2m_4() -> None:
    assert index.hnsw_bytes_per_vector(768, 4, 32) == 4 * 768 + 32 * 2 * 4


def test_whole_graph_matches_a_file_that_faiss_wrote() -> None:
    """HNSW32,Flat over 100,000 x 64: 52,820,834 bytes on disk (faiss-cpu 1.15.1)."""
    each = index.flat_bytes_per_vector(64, 4) + index.hnsw_graph_bytes(32)
    assert 100_000 * each == pytest.approx(52_820_834, rel=5e-4)


def test_pq_and_rabitq_codes() -> None:
    assert index.pq_code_bytes(768, 8) == 96
    assert index.rabitq_code_bytes(768) == 96 + 8


def test_inverted_lists_by_hand() -> None:
    shape = index.InvertedLists(lists=10, centroid_dims=4, code_bytes=2, fast_scan=True)
    found = index.inverted_list_bytes(100, shape)
    assert found.codes == 200
    assert found.ids == 100 * 8 + 10 * 8
    assert found.centroids == 10 * 4 * 4
    assert found.padding == 10 * 2 * 16
    assert found.total == 200 + 880 + 160 + 320


@given(counts, counts, st.integers(1, 4096))
def test_more_vectors_take_more_bytes(a: float, b: float, dims: int) -> None:
    shape = index.InvertedLists(lists=1024, centroid_dims=dims, code_bytes=dims / 8, links=32)
    few, many = sorted((a, b))
    assert index.resident_bytes(few, shape) <= index.resident_bytes(many, shape)


@given(counts, st.integers(1, 4096), st.booleans())
def test_parts_sum_and_memory_is_no_less_than_the_file(
    count: float, dims: int, fast_scan: bool
) -> None:
    shape = index.InvertedLists(lists=64, centroid_dims=dims, code_bytes=8, fast_scan=fast_scan)
    found = index.inverted_list_bytes(count, shape)
    parts = found.codes + found.ids + found.centroids + found.graph + found.padding
    assert found.total == parts
    assert index.resident_bytes(count, shape) >= found.total
