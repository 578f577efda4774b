"""The kind of an index, its shards and replicas, chosen from what it must do."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.facts import load_facts
from sextant.plan.index_choice import IndexDemand, choose_index, codes_memory_bytes, kind_costs

FACTS = load_facts()
GIB = 2.0**30
DEMAND = IndexDemand(vectors=1_000_000, dims=128, recall=0.95, memory_bytes=24 * GIB, cores=2)


def chosen(**change: object) -> tuple[str, int, int]:
    choice = choose_index(replace(DEMAND, **change), FACTS)
    return choice.chosen.kind, choice.shards, choice.replicas


def test_few_vectors_are_searched_exactly() -> None:
    assert chosen(vectors=20_000, dims=384) == ("flat", 1, 2)


def test_one_question_a_second_is_answered_exactly_however_many_vectors_fit() -> None:
    assert chosen(queries_per_s=1.0) == ("flat", 1, 1)


def test_a_million_under_load_are_a_graph_of_bytes_on_every_core() -> None:
    choice = choose_index(replace(DEMAND, queries_per_s=20_000.0), FACTS)
    assert (choice.key, choice.shards, choice.replicas) == ("HNSW32_SQ8", 1, 2)
    assert choice.chosen.raw_mapped
    assert len(choice.because) == 3


def test_little_memory_leaves_the_raw_vectors_on_disk() -> None:
    choice = choose_index(
        replace(DEMAND, vectors=10_000_000, dims=96, recall=0.9, memory_bytes=2.5e9), FACTS
    )
    assert (choice.chosen.kind, choice.chosen.raw_mapped, choice.shards) == ("ivf_pq", False, 1)
    assert choice.chosen.memory_bytes < 0.6 * 2.5e9


def test_a_recall_beyond_codes_takes_a_graph_and_one_beyond_all_is_exact() -> None:
    assert chosen(recall=0.992, queries_per_s=1000.0)[0] == "hnsw"
    assert chosen(recall=1.0, queries_per_s=1e6)[0] == "flat"


def test_odd_dims_have_no_codes() -> None:
    kinds = {one.kind for one in kind_costs(replace(DEMAND, dims=127), FACTS)}
    assert kinds == {"flat", "hnsw", "hnsw_sq8", "ivf"}


def test_bytes_of_codes_by_hand() -> None:
    # 1,000,000 x (32 B of code + 8 B of id + 8 B of ordinal) = 48 MB; 1,024 lists each lose half a
    # block of 32 codes (512 B) and a page (4,096 B), have a length (8 B) and a centroid (512 B).
    by_hand = 1e6 * 48 + 1024 * (512 + 4096 + 8 + 512)
    assert codes_memory_bytes(1e6, 128, 1024) == pytest.approx(by_hand)
    assert codes_memory_bytes(1e6, 128, 1024, shards=8) == pytest.approx(
        1e6 * 48 + 8 * 1024 * (512 + 4096 + 8 + 512)
    )


@given(
    vectors=st.integers(1, 10**9),
    dims=st.integers(1, 2048),
    recall=st.floats(0.5, 1.0),
    memory=st.floats(1e8, 1e12),
    cores=st.integers(1, 128),
    queries_per_s=st.none() | st.floats(0.1, 1e6),
)
def test_a_choice_fits_and_says_why(
    vectors: int, dims: int, recall: float, memory: float, cores: int, queries_per_s: float | None
) -> None:
    demand = IndexDemand(
        vectors=vectors,
        dims=dims,
        recall=recall,
        memory_bytes=memory,
        cores=cores,
        queries_per_s=queries_per_s,
    )
    choice = choose_index(demand, FACTS)
    assert choice.chosen.reach >= recall
    assert choice.chosen.memory_bytes <= choice.shards * memory
    assert 1 <= choice.replicas <= cores
    assert all(choice.because)
    more = choose_index(replace(demand, memory_bytes=4 * memory), FACTS)
    assert more.shards <= choice.shards
