"""A graph is tuned by vectors that it gets last: every row ends in its own place."""

from pathlib import Path

import faiss
import numpy as np
import pytest

from sextant.search import tune
from sextant.search.engine import exact_neighbours, read_index
from sextant.search.rows import Row
from sextant.search.tune import held_rows
from sextant.search.writer import IndexWriter


@pytest.mark.parametrize(("key", "floor"), [("HNSW16", 0.9999), ("HNSW16_SQ8", 0.99)])
def test_rows_that_were_held_out_are_in_their_places(
    tmp_path: Path, key: str, floor: float
) -> None:
    dice = np.random.default_rng(1)
    vectors_ND = dice.standard_normal((3000, 24)).astype(np.float32)
    vectors_ND /= np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    with IndexWriter(
        tmp_path, key="a" * 64, dims=24, num_shards=1, space="s", faiss_key=key, recall=0.9
    ) as writer:
        writer.add([Row(f"d{n}", b"") for n in range(3000)], vectors_ND)
        card = writer.publish({}).shards[0].segments[0]
    assert not list(tmp_path.rglob("*.before"))
    index = read_index(tmp_path / card.folder / "vectors.faiss", card.tuned)
    rows = np.append(held_rows(3000), [0, 1, 1234, 2999])
    kept_ND = np.stack([index.reconstruct(int(row)) for row in rows])
    assert ((kept_ND * vectors_ND[rows]).sum(axis=1) > floor).all()
    queries_QD = dice.standard_normal((400, 24)).astype(np.float32)
    true_QK = exact_neighbours(vectors_ND, queries_QD, 10)
    found_QK = index.search(queries_QD, 10 * card.tuned.get("k_factor", 1))[1]
    reached = (found_QK[:, :, None] == true_QK[:, None, :]).any(1).mean()
    assert reached >= 0.9 - 0.02
    assert abs(reached - card.recall) < 0.04


def test_many_shards_are_tuned_by_no_more_questions_than_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune, "_MOST_QUERIES", 50)
    monkeypatch.setattr(tune, "_FEW_QUERIES", 50)
    asked: list[int] = []
    knn = faiss.knn

    def counted(queries_QD: np.ndarray, *others: object, **named: object) -> object:
        asked.append(len(queries_QD))
        return knn(queries_QD, *others, **named)

    monkeypatch.setattr(faiss, "knn", counted)
    vectors_ND = np.random.default_rng(1).standard_normal((3000, 24)).astype(np.float32)
    with IndexWriter(
        tmp_path, key="a" * 64, dims=24, num_shards=3, space="s", faiss_key="HNSW16", recall=0.9
    ) as writer:
        writer.add([Row(f"d{n}", b"") for n in range(3000)], vectors_ND)
        writer.publish({})
    assert asked == [50, 50, 50]
