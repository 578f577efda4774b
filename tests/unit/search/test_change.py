"""A changed index answers as one that was built of what is left; old generations stay while they
are served.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sextant.errors import InputError
from sextant.fleet import Deadline
from sextant.search import generations
from sextant.search.cards import SegmentCard
from sextant.search.change import IndexChange
from sextant.search.compact import MOST_SEGMENTS, compact, fold_from
from sextant.search.directory import Directory
from sextant.search.documents import rows_digest
from sextant.search.generations import GENERATIONS, lease, sweep
from sextant.search.manifest import MANIFESTS, Manifest
from sextant.search.placement import shard_of
from sextant.search.rows import Row
from sextant.search.searcher import Searcher
from sextant.search.service import open_local
from sextant.search.verify import verify
from sextant.search.writer import IndexWriter

Build = Callable[..., tuple[Path, Manifest]]
Documents = dict[str, list[tuple[Row, np.ndarray]]]
Hits = list[list[tuple[Row, float]]]
DIMS = 4


def written(index_dir: Path, documents: Documents, num_shards: int) -> Manifest:
    with IndexWriter(
        index_dir, key="b" * 64, dims=DIMS, num_shards=num_shards, space="test-space"
    ) as writer:
        for rows in documents.values():
            writer.add([row for row, _ in rows], np.array([vector_D for _, vector_D in rows]))
        return writer.publish({})


def found(index_dir: Path, manifest: Manifest, queries_QD: np.ndarray, k: int) -> Hits:
    gang = open_local(index_dir, manifest)
    try:
        result = Searcher(manifest, gang).search(
            queries_QD, k=k, deadline=Deadline.after(30), space="test-space"
        )
    finally:
        gang.close()
    assert not result.missing
    return [[(hit.row, hit.score) for hit in hits] for hits in result.hits]


def made(document: str, version: int, dice: np.random.Generator) -> list[tuple[Row, np.ndarray]]:
    """One to three rows whose vectors have few distinct values, so that many scores tie."""
    return [
        (Row(document, f"{version}.{place}".encode()), vector_D)
        for place, vector_D in enumerate(
            dice.integers(-1, 2, (dice.integers(1, 4), DIMS)).astype(np.float32)
        )
    ]


def applied(index_dir: Path, manifest: Manifest, step: Step, documents: Documents) -> Manifest:
    """The index after one step, and `documents` after it too."""
    kind, names, version = step
    if kind == "compact":
        return compact(index_dir, manifest)
    dice = np.random.default_rng(version)
    with IndexChange(index_dir, manifest) as change:
        for name in names:
            if kind == "delete":
                assert change.delete(name) == (name in documents)
                documents.pop(name, None)
            else:
                rows = made(name, version, dice)
                change.add([row for row, _ in rows], np.array([vector_D for _, vector_D in rows]))
                # It comes last now, whether it was there or not.
                documents.pop(name, None)
                documents[name] = rows
        return change.publish()


Step = tuple[str, Sequence[str], int]
NAMES = st.lists(st.integers(0, 12).map(lambda n: f"d{n}"), unique=True, min_size=1, max_size=6)
STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "add", "delete", "compact"]), NAMES, st.integers(0, 2**16)),
    max_size=8,
)


@settings(max_examples=40, deadline=None)
@given(num=st.integers(0, 12), num_shards=st.integers(1, 3), k=st.integers(1, 30), steps=STEPS)
def test_any_changes_give_the_answers_of_a_new_index(
    tmp_path_factory: pytest.TempPathFactory, num: int, num_shards: int, k: int, steps: list[Step]
) -> None:
    dice = np.random.default_rng(num)
    documents = {f"d{number}": made(f"d{number}", 0, dice) for number in range(num)}
    home = tmp_path_factory.mktemp("index")
    manifest = written(home / "changed", documents, num_shards)
    for step in steps:
        manifest = applied(home / "changed", manifest, step, documents)
        assert Manifest.read(home / "changed") == manifest
    again = written(home / "new", documents, num_shards)
    queries_QD = dice.integers(-1, 2, (3, DIMS)).astype(np.float32)
    assert found(home / "changed", manifest, queries_QD, k) == found(
        home / "new", again, queries_QD, k
    )
    assert manifest.documents == again.documents == len(documents)
    assert manifest.vectors == again.vectors
    for segment in manifest.segments():
        verify(home / "changed", segment)
    # Nothing is left of what was replaced.
    held = {str(path.relative_to(home / "changed")) for path in (home / "changed").glob("g*/*/*")}
    assert held == manifest.paths()


@pytest.mark.parametrize("key", ["HNSW16", "IVF8,Flat", "IVF4,SQ8"])
def test_other_kinds_are_folded_from_the_vectors_that_they_were_made_of(
    vectors: np.ndarray, build: Build, key: str
) -> None:
    index_dir, manifest = build(vectors, 2, key)
    with IndexChange(index_dir, manifest) as change:
        for number in range(0, 300, 3):
            assert change.delete(f"doc-{number}")
        changed = change.publish()
    folded = compact(index_dir, changed)
    assert folded.vectors == changed.vectors == 400
    assert [len(shard.segments) for shard in folded.shards] == [1, 1]
    assert all(segment.dead is None for segment in folded.segments())
    hits = found(index_dir, folded, vectors[[2, 4, 300]], 1)
    payloads = [one[0][0].payload for one in hits]
    # Row 300 was of document 150, which is gone.
    assert payloads[:2] == [b"row 2", b"row 4"]
    assert payloads[2] != b"row 300"


def segments(*sizes: tuple[int, int]) -> list[SegmentCard]:
    """Cards of so many vectors, so many of them deleted."""
    from sextant.search.cards import FileCard, TombstoneCard

    none = FileCard(bytes=0, sha256="")
    return [
        SegmentCard(
            folder=f"s{place}",
            documents=num,
            vectors=num,
            faiss="Flat",
            recall=1.0,
            files={},
            dead=TombstoneCard(file="d", documents=dead, vectors=dead, card=none) if dead else None,
        )
        for place, (num, dead) in enumerate(sizes)
    ]


@pytest.mark.parametrize(
    ("sizes", "first"),
    [
        ([(100, 0)], None),
        ([(100, 10)], None),
        ([(100, 21)], 0),
        ([(100, 0), (1, 0), (1, 0), (1, 0)], None),
        ([(100, 0), (1, 0), (1, 0), (1, 0), (1, 0)], 1),
        ([(1000, 0), (100, 0), (30, 0), (9, 0), (1, 0)], 3),
        ([(10, 0), (5, 0), (5, 0), (5, 0), (5, 0)], 0),
        ([(0, 0)], None),
    ],
)
def test_folding_is_worth_it_when_it_is(sizes: list[tuple[int, int]], first: int | None) -> None:
    assert fold_from(segments(*sizes)) == first


def test_a_row_is_written_again_a_few_times_in_its_life() -> None:
    """A thousand additions of one vector: segments stay few, and copies grow as N log N."""
    sizes, copied = [0], 0
    for _ in range(1000):
        sizes.append(1)
        first = fold_from(segments(*((size, 0) for size in sizes)))
        if first is not None:
            copied += sum(sizes[first:])
            sizes[first:] = [sum(sizes[first:])]
        assert len(sizes) <= 2 * MOST_SEGMENTS
    assert sum(sizes) == 1000
    assert copied < 1000 * 10


def test_a_document_is_found_with_its_digest(vectors: np.ndarray, build: Build) -> None:
    index_dir, manifest = build(vectors, 4)
    directory = Directory(index_dir, manifest)
    (place,) = directory.find("doc-17")
    assert place.shard == shard_of("doc-17", 4)
    assert place.entry.num == 2
    assert place.entry.digest == rows_digest([Row("doc-17", b"row 34"), Row("doc-17", b"row 35")])
    assert directory.find("doc-300") == []
    assert [row.payload for row in directory.rows()] == [f"row {n}".encode() for n in range(600)]
    directory.close()


def test_a_change_of_nothing_changes_nothing(vectors: np.ndarray, build: Build) -> None:
    index_dir, manifest = build(vectors, 2)
    with IndexChange(index_dir, manifest) as change:
        assert not change.delete("doc-300")
        assert change.publish() == manifest
    assert compact(index_dir, manifest) == manifest
    assert Manifest.read(index_dir) == manifest


def test_a_document_that_comes_twice_is_refused(vectors: np.ndarray, build: Build) -> None:
    index_dir, manifest = build(vectors, 2)
    with IndexChange(index_dir, manifest) as change:
        change.add([Row("a", b""), Row("b", b"")], vectors[:2])
        with pytest.raises(InputError, match="twice"):
            change.add([Row("a", b"")], vectors[:1])


def test_a_generation_that_is_served_keeps_its_files(vectors: np.ndarray, build: Build) -> None:
    index_dir, old = build(vectors, 2, folder="index")
    held = lease(index_dir)
    assert held.manifest == old
    gang = open_local(index_dir, old)
    _, new = build(vectors[:100], 3, folder="index")
    # A member that starts late finds the files of the generation that it is to serve.
    assert len(found(index_dir, old, vectors[:1], 5)[0]) == 5
    gang.close()
    assert {path.stem for path in (index_dir / MANIFESTS).iterdir()} == {
        old.generation,
        new.generation,
    }
    held.close()
    assert [path.stem for path in (index_dir / MANIFESTS).iterdir()] == [new.generation]
    assert [path.name for path in (index_dir / GENERATIONS).iterdir()] == [new.generation]
    with pytest.raises(InputError, match="gone"):
        lease(index_dir, old.generation)
    for segment in new.segments():
        verify(index_dir, segment)


def test_letting_go_of_an_old_generation_keeps_what_the_new_one_shares(
    vectors: np.ndarray, build: Build
) -> None:
    index_dir, old = build(vectors, 2)
    held = lease(index_dir)
    with IndexChange(index_dir, old) as change:
        change.delete("doc-0")
        new = change.publish()
    with IndexChange(index_dir, new) as change:
        change.delete("doc-1")
        newer = change.publish()
    held.close()
    assert found(index_dir, newer, vectors[4:5], 1)[0][0][0].document == "doc-2"
    tombstones = [path.name for path in index_dir.glob("generations/*/dead-*")]
    assert len(tombstones) == sum(segment.dead is not None for segment in newer.segments())


def test_readers_that_remove_a_generation_meanwhile_do_not_fail_the_writer(
    vectors: np.ndarray, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    index_dir, manifest = build(vectors, 1)
    stale = [index_dir / GENERATIONS / name for name in ("stale-1", "stale-2")]
    for folder in stale:
        (folder / "shard-000").mkdir(parents=True)

    def meanwhile(_path: Path) -> None:
        for folder in stale:
            shutil.rmtree(folder, ignore_errors=True)

    monkeypatch.setattr(generations, "_remove", meanwhile)
    sweep(index_dir, manifest)
    assert [one.name for one in (index_dir / GENERATIONS).iterdir()] == [manifest.generation]
