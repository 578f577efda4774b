"""Documents added, replaced and deleted: the answers of an index built of what is left."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from sextant.errors import InputError
from sextant.search.manifest import Manifest
from sextant.systems.rag.build import build_index, check
from sextant.systems.rag.corpus import open_corpus
from sextant.systems.rag.document import Troubles
from sextant.systems.rag.grow import ChangeReport, add_documents, delete_documents
from sextant.systems.rag.passage import Passage
from sextant.systems.rag.remembered import corpus_of
from sextant.systems.rag.service import open_service

QUESTION = "the colour of the harbour"
WORDS = ("quay", "crane", "tide", "rope", "mast", "hull", "keel", "sail", "deck", "oar", "buoy")


def text(number: int) -> str:
    """Some sentences, unlike those of any other number."""
    own = [f"{word}{number}" for word in WORDS]
    return f"The harbour {number} has a colour. It has {' '.join(own)}. Nobody painted h{number}."


def written(path: Path, records: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def records(numbers: Iterable[int]) -> list[dict[str, Any]]:
    return [{"_id": f"d{n}", "title": f"t{n}", "text": text(n)} for n in numbers]


def build(path: Path, index_dir: Path, embedder: Any, **options: Any) -> Manifest:
    options = {"num_shards": 2, "overlap_tokens": 4, **options}
    return build_index(open_corpus(str(path)), index_dir, embedder, **options).manifest


def added(
    tmp_path: Path, embedder: Any, told: list[dict[str, Any]], **options: Any
) -> ChangeReport:
    corpus = open_corpus(str(written(tmp_path / "more.jsonl", told)))
    return add_documents([corpus], tmp_path / "index", embedder, **options)


def hits(index_dir: Path, embedder: Any) -> tuple[Passage, ...]:
    with open_service(index_dir, embedder=embedder) as service:
        return service.search(QUESTION, k=1000, mode="dense").hits


def same_as_new(tmp_path: Path, embedder: Any, told: list[dict[str, Any]]) -> None:
    """Holds the changed index against one that is built of these records."""
    build(written(tmp_path / "all.jsonl", told), tmp_path / "new", embedder)
    assert hits(tmp_path / "index", embedder) == hits(tmp_path / "new", embedder)
    check(tmp_path / "index", Manifest.read(tmp_path / "index"))


def test_added_replaced_and_deleted_documents_answer_as_a_new_index(
    tmp_path: Path, embedder: Any
) -> None:
    build(written(tmp_path / "c.jsonl", records(range(20))), tmp_path / "index", embedder)
    more = records([3, 20, 21])
    more[0]["text"] += " Then it was painted."
    report = added(tmp_path, embedder, more)
    assert (report.added, report.replaced, report.unchanged) == (2, 1, 0)
    gone = delete_documents(["d5", "d20", "d5", "nobody"], tmp_path / "index", embedder)
    assert gone.deleted == ("d5", "d20")
    assert gone.absent == ("nobody",)
    left = [one for one in records(range(20)) if one["_id"] not in ("d3", "d5")]
    same_as_new(tmp_path, embedder, [*left, more[0], more[2]])
    # What was deleted may come back.
    assert added(tmp_path, embedder, records([5])).added == 1
    same_as_new(tmp_path, embedder, [*left, more[0], more[2], *records([5])])


def test_many_small_additions_are_folded_into_few_segments(tmp_path: Path, embedder: Any) -> None:
    index_dir = tmp_path / "index"
    build(written(tmp_path / "c.jsonl", records(range(4))), index_dir, embedder, num_shards=1)
    for number in range(4, 16):
        added(tmp_path, embedder, records([number]))
    manifest = Manifest.read(index_dir)
    assert manifest.documents == 16
    assert len(manifest.shards[0].segments) <= 5
    assert len(manifest.extras) <= 9
    same_as_new(tmp_path, embedder, records(range(16)))


def test_what_is_there_already_costs_no_embedding(tmp_path: Path, embedder: Any) -> None:
    index_dir = tmp_path / "index"
    old = build(written(tmp_path / "c.jsonl", records(range(6))), index_dir, embedder)
    num_encoded = embedder.num_encoded
    report = added(tmp_path, embedder, records(range(6)))
    assert report.unchanged == 6
    assert report.manifest == old
    assert embedder.num_encoded == num_encoded
    assert added(tmp_path, embedder, records(range(4, 8))).added == 2


def test_fields_and_groups_count_as_a_change(tmp_path: Path, embedder: Any) -> None:
    index_dir = tmp_path / "index"
    build(written(tmp_path / "c.jsonl", records(range(3))), index_dir, embedder)
    told = {**records([1])[0], "year": 1999, "groups": ["crew"]}
    assert added(tmp_path, embedder, [told]).replaced == 1
    (document,) = [
        one
        for one in corpus_of(index_dir, Manifest.read(index_dir)).documents(Troubles())
        if one.id == "d1"
    ]
    assert document.fields == {"year": 1999}
    assert document.groups == ("crew",)


def test_an_index_gives_back_its_documents(tmp_path: Path, embedder: Any) -> None:
    long = "\n\n".join(f"  {text(n)} \t {text(n + 50)}" for n in range(30))
    told = [{"id": "long", "title": "A long one", "text": long, "year": 3}, *records(range(3))]
    path = written(tmp_path / "c.jsonl", told)
    manifest = build(path, tmp_path / "index", embedder)
    assert manifest.vectors > 20
    before = list(open_corpus(str(path)).documents(Troubles()))
    after = list(corpus_of(tmp_path / "index", manifest).documents(Troubles()))
    assert [one.id for one in after] == [one.id for one in before]
    assert [(one.title, one.fields) for one in after] == [(one.title, one.fields) for one in before]
    assert [one.text.rstrip() for one in after] == [one.text.rstrip() for one in before]


def test_a_killed_addition_changes_nothing_and_goes_on(
    tmp_path: Path, embedder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sextant.systems.rag.blocks.BLOCK_CHUNKS", 5)
    index_dir = tmp_path / "index"
    old = build(written(tmp_path / "c.jsonl", records(range(4))), index_dir, embedder)
    embedder.dies_after = embedder.num_encoded + 12
    with pytest.raises(KeyboardInterrupt):
        added(tmp_path, embedder, records(range(4, 20)))
    assert Manifest.read(index_dir) == old
    embedder.dies_after = None
    report = added(tmp_path, embedder, records(range(4, 20)))
    assert report.reused == 10
    assert report.added == 16
    same_as_new(tmp_path, embedder, records(range(20)))


def test_a_deletion_of_nothing_and_an_index_that_is_not_there_are_refused(
    tmp_path: Path, embedder: Any
) -> None:
    corpus = written(tmp_path / "c.jsonl", records(range(3)))
    with pytest.raises(InputError, match="no index here"):
        added(tmp_path, embedder, records([1]))
    assert not (tmp_path / "index").exists()
    build(corpus, tmp_path / "index", embedder)
    with pytest.raises(InputError, match="no such document: nobody"):
        delete_documents(["nobody"], tmp_path / "index", embedder)
    other = type(embedder)()
    other.folder.fingerprint = "0" * 32
    with pytest.raises(InputError, match="another model"):
        added(tmp_path, other, records([7]))


def test_everything_may_be_deleted_and_added_again(tmp_path: Path, embedder: Any) -> None:
    build(written(tmp_path / "c.jsonl", records(range(3))), tmp_path / "index", embedder)
    report = delete_documents(["d0", "d1", "d2"], tmp_path / "index", embedder)
    assert report.manifest.documents == 0
    assert hits(tmp_path / "index", embedder) == ()
    added(tmp_path, embedder, records(range(2, 5)))
    same_as_new(tmp_path, embedder, records(range(2, 5)))
