"""N shards give the one-shard answer; what is missing is said, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sextant.errors import InputError
from sextant.fleet import Deadline, Gather, Missing
from sextant.search.local import LocalGang
from sextant.search.manifest import Manifest
from sextant.search.placement import shard_of
from sextant.search.rows import Row
from sextant.search.searcher import Found, Searcher
from sextant.search.service import open_local
from sextant.search.writer import IndexWriter

Build = Callable[..., tuple[Path, Manifest]]


class WithoutShards:
    """A gang some of whose members never answer."""

    def __init__(self, gang: LocalGang, silent: set[str]) -> None:
        self._gang = gang
        self._silent = silent

    def ask(self, body: bytes, deadline: Deadline) -> Gather:
        gather = self._gang.ask(body, deadline)
        answers = {name: a for name, a in gather.answers.items() if name not in self._silent}
        missing = tuple(Missing(member=name, why="deadline") for name in sorted(self._silent))
        return Gather(answers=answers, missing=missing, seconds=gather.seconds)

    def ledgers(self, timeout_s: float) -> dict[str, dict[str, float]]:
        return self._gang.ledgers(timeout_s)

    def close(self) -> None:
        self._gang.close()


def find(index: tuple[Path, Manifest], queries_QD: np.ndarray, k: int = 10) -> Found:
    gang = open_local(*index)
    try:
        searcher = Searcher(index[1], gang)
        deadline = Deadline.after(30)
        return searcher.search(queries_QD, k=k, deadline=deadline, space="test-space")
    finally:
        gang.close()


def plain(found: Found) -> list[list[tuple[int, float, str]]]:
    return [[(hit.ordinal, hit.score, hit.row.document) for hit in hits] for hits in found.hits]


@pytest.mark.parametrize("num_shards", [2, 7])
@pytest.mark.parametrize("num_queries", [1, 40])
def test_n_shards_give_the_one_shard_answer_to_the_bit(
    vectors: np.ndarray, build: Build, num_shards: int, num_queries: int
) -> None:
    # Row 50 has 29 equals and row 200 one: ties within a shard, across shards, and at the cut.
    queries_QD = vectors[[50, 200, *range(num_queries - 1)]][:num_queries]
    one = find(build(vectors, 1), queries_QD, k=20)
    many = find(build(vectors, num_shards), queries_QD, k=20)
    assert plain(many) == plain(one)
    assert [hit.ordinal for hit in one.hits[0]] == list(range(50, 70))


def test_scores_do_not_depend_on_the_batch(vectors: np.ndarray, build: Build) -> None:
    index = build(vectors, 3)
    queries_QD = np.random.default_rng(1).standard_normal((64, 32)).astype(np.float32)
    together = plain(find(index, queries_QD))
    alone = [plain(find(index, queries_QD[q : q + 1]))[0] for q in range(0, 64, 16)]
    assert together[::16] == alone


def test_hits_are_the_true_neighbours_with_their_rows(vectors: np.ndarray, build: Build) -> None:
    queries_QD = np.random.default_rng(2).standard_normal((5, 32)).astype(np.float32)
    found = find(build(vectors, 4), queries_QD)
    for query_D, hits in zip(queries_QD, found.hits, strict=True):
        truth = np.argsort(-(vectors @ query_D), kind="stable")[:10]
        assert {hit.ordinal for hit in hits} == set(truth.tolist())
        for hit in hits:
            assert hit.row == Row(f"doc-{hit.ordinal // 2}", f"row {hit.ordinal}".encode())
            assert hit.shard == f"shard/{shard_of(hit.row.document, 4)}"
    assert found.coverage == found.expected_recall == 1.0
    assert not found.missing


@settings(max_examples=20, deadline=None)
@given(
    num=st.integers(0, 40),
    num_shards=st.integers(1, 6),
    k=st.integers(1, 60),
    seed=st.integers(0, 2**16),
)
def test_any_small_index_merges_to_a_sorted_exact_answer(
    tmp_path_factory: pytest.TempPathFactory, num: int, num_shards: int, k: int, seed: int
) -> None:
    # Few distinct values, so that many scores tie.
    vectors_ND = np.random.default_rng(seed).integers(-1, 2, (num, 4)).astype(np.float32)
    index_dir = tmp_path_factory.mktemp("index")
    writer = IndexWriter(index_dir, key="b" * 64, dims=4, num_shards=num_shards, space="test-space")
    writer.add([Row(f"d{row}", b"") for row in range(num)], vectors_ND)
    query_1D = np.ones((1, 4), np.float32)
    found = find((index_dir, writer.publish({})), query_1D, k=k)
    scores_N = vectors_ND @ query_1D[0]
    truth = sorted(range(num), key=lambda row: (-scores_N[row], row))[:k]
    assert [hit.ordinal for hit in found.hits[0]] == truth


def test_missing_shards_lower_coverage_and_recall_as_expected(
    vectors: np.ndarray, build: Build
) -> None:
    index_dir, manifest = build(vectors, 8)
    queries_QD = np.random.default_rng(3).standard_normal((300, 32)).astype(np.float32)
    whole = find((index_dir, manifest), queries_QD)
    gang = open_local(index_dir, manifest)
    searcher = Searcher(manifest, WithoutShards(gang, {"shard/2", "shard/5"}))
    deadline = Deadline.after(30)
    found = searcher.search(queries_QD, k=10, deadline=deadline, space="test-space")
    gang.close()
    gone = [card for card in manifest.shards if card.name in ("shard/2", "shard/5")]
    assert found.coverage == pytest.approx(1 - sum(card.documents for card in gone) / 300)
    assert [missing.member for missing in found.missing] == ["shard/2", "shard/5"]
    recall = np.mean(
        [
            len({hit.ordinal for hit in part} & {hit.ordinal for hit in full}) / 10
            for part, full in zip(found.hits, whole.hits, strict=True)
        ]
    )
    assert found.expected_recall == pytest.approx(recall, abs=0.03)


def test_nobody_answers(vectors: np.ndarray, build: Build) -> None:
    index_dir, manifest = build(vectors, 2)
    gang = open_local(index_dir, manifest)
    searcher = Searcher(manifest, gang)
    found = searcher.search(vectors[:1], k=3, deadline=Deadline.after(-1), space="test-space")
    gang.close()
    assert found.hits == ((),)
    assert found.coverage == found.expected_recall == 0.0
    assert len(found.missing) == 2


def test_vectors_of_another_model_are_refused(vectors: np.ndarray, build: Build) -> None:
    index_dir, manifest = build(vectors, 1)
    searcher = Searcher(manifest, open_local(index_dir, manifest))
    with pytest.raises(InputError, match="another model"):
        searcher.search(vectors[:1], k=3, deadline=Deadline.after(1), space="other")
    with pytest.raises(InputError, match="k must be"):
        searcher.search(vectors[:1], k=0, deadline=Deadline.after(1), space="test-space")


@pytest.mark.parametrize("key", ["HNSW16", "IVF8,Flat", "IVF4,SQ8"])
def test_other_faiss_keys_say_their_recall(vectors: np.ndarray, build: Build, key: str) -> None:
    index = build(vectors, 2, key)
    found = find(index, vectors[100:110], k=5)
    assert 0.1 < index[1].index_recall <= 1.0
    assert found.expected_recall == pytest.approx(index[1].index_recall)
    assert [hits[0].ordinal for hits in found.hits] == list(range(100, 110))
