"""An index is of the kind that the plan chooses, and says why, unless somebody says otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sextant.systems.rag import kind
from sextant.systems.rag.build import build_index
from sextant.systems.rag.corpus import open_corpus
from sextant.systems.rag.kind import settled

GIB = float(1 << 30)
MACHINE = {"memory_bytes": 16 * GIB, "cores": 4}


def test_few_vectors_are_searched_exactly_and_the_plan_says_why() -> None:
    chosen = settled(5_000, 384, faiss_key=None, shards=None, **MACHINE)
    assert (chosen.faiss_key, chosen.shards) == ("Flat", 1)
    assert "exact search keeps up" in chosen.because[0]


def test_more_than_memory_holds_is_compressed_or_spread() -> None:
    chosen = settled(50_000_000, 384, faiss_key=None, shards=None, **MACHINE)
    assert chosen.faiss_key.startswith("IVF")
    assert "PQ" in chosen.faiss_key
    assert not chosen.raw_mapped
    whole = settled(50_000_000, 384, faiss_key=None, shards=None, memory_bytes=1024 * GIB, cores=4)
    assert whole.shards == 1


def test_what_the_caller_says_overrides_the_plan() -> None:
    assert settled(10, 8, faiss_key="HNSW32", shards=None) == kind.Kind(
        faiss_key="HNSW32", shards=1
    )
    assert settled(5_000, 384, faiss_key=None, shards=7, **MACHINE).shards == 7


def test_a_build_takes_what_the_plan_chooses_for_its_passages(
    tmp_path: Path, embedder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def plans(vectors: int, dims: int, **said: Any) -> kind.Kind:  # noqa: ARG001
        asked.append(vectors)
        return kind.Kind(faiss_key="IVF2,Flat", shards=2, replicas=3, because=("it was told to",))

    monkeypatch.setattr("sextant.systems.rag.build.settled", plans)
    path = tmp_path / "corpus.jsonl"
    lines = [json.dumps({"_id": f"d{n}", "text": f"Topic {n} is {n * n}."}) for n in range(40)]
    path.write_text("\n".join(lines), encoding="utf-8")
    told = open_corpus(str(path))
    report = build_index(told, tmp_path / "index", embedder, num_shards=None, faiss_key=None)
    manifest = report.manifest
    assert asked == [manifest.vectors]
    assert (manifest.faiss, len(manifest.shards)) == ("IVF2,Flat", 2)
    assert report.because == ("it was told to",)
    assert manifest.about["plan"] == {"replicas": 3, "because": ["it was told to"]}
    again = build_index(told, tmp_path / "index", embedder, num_shards=None, faiss_key=None)
    assert again.up_to_date
