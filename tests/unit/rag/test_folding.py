"""Near-duplicates are found, remembered, and come back when what stood for them goes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sextant.search.directory import Directory
from sextant.search.manifest import Manifest
from sextant.systems.rag.build import BuildReport, build_index
from sextant.systems.rag.corpus import open_corpus
from sextant.systems.rag.document import Document, Troubles
from sextant.systems.rag.folding import FOLD_AT
from sextant.systems.rag.folding.fold import Candidate, Folding
from sextant.systems.rag.folding.runs import Run
from sextant.systems.rag.folding.sign import Signer
from sextant.systems.rag.grow import ChangeReport, add_documents, delete_documents
from sextant.systems.rag.remembered import folded_in


def words(seed: int, num: int = 120) -> list[str]:
    return [f"w{n}" for n in np.random.default_rng(seed).integers(0, 10**6, num)]


def text(seed: int, *, changed: int = 0) -> str:
    """A text of 120 words, some of them changed, so 3 shingles for each."""
    told = words(seed)
    for place in range(changed):
        told[10 + 12 * place] = f"changed{place}"
    return " ".join(told)


def record(name: str, body: str, **more: Any) -> dict[str, Any]:
    return {"_id": name, "title": "", "text": body, **more}


def corpus(tmp_path: Path, records: Iterable[dict[str, Any]], name: str = "c.jsonl") -> Any:
    path = tmp_path / name
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    return open_corpus(str(path))


def build(
    tmp_path: Path, embedder: Any, records: Iterable[dict[str, Any]], **options: Any
) -> BuildReport:
    return build_index(corpus(tmp_path, records), tmp_path / "index", embedder, **options)


def add(tmp_path: Path, embedder: Any, *records: dict[str, Any]) -> ChangeReport:
    return add_documents([corpus(tmp_path, records, "m.jsonl")], tmp_path / "index", embedder)


def indexed(tmp_path: Path) -> set[str]:
    directory = Directory(tmp_path / "index", Manifest.read(tmp_path / "index"))
    found = {row.document for row in directory.rows()}
    directory.close()
    return found


def folded(tmp_path: Path) -> dict[str, str]:
    index_dir = tmp_path / "index"
    return {one.id: one.kept for one in folded_in(index_dir, Manifest.read(index_dir))}


TOLD = [
    record("a", text(1)),
    record("same", text(1)),
    record("near", text(1, changed=1)),
    record("shouted", text(1).upper().replace(" ", ",  ")),
    record("far", text(1, changed=5)),
    record("b", text(2)),
]


def test_near_duplicates_are_folded_into_the_first(tmp_path: Path, embedder: Any) -> None:
    report = build(tmp_path, embedder, TOLD)
    assert indexed(tmp_path) == {"a", "far", "b"}
    assert {one.id: (one.kept, one.exact) for one in report.folded} == {
        "same": ("a", True),
        "near": ("a", False),
        "shouted": ("a", False),
    }
    assert all(FOLD_AT <= one.similarity <= 1 for one in report.folded)
    assert folded(tmp_path) == {"same": "a", "near": "a", "shouted": "a"}
    assert report.manifest.about["folded"] == 3
    assert build(tmp_path, embedder, TOLD).up_to_date


def test_duplicates_may_be_kept(tmp_path: Path, embedder: Any) -> None:
    report = build(tmp_path, embedder, TOLD, fold_at=None)
    assert report.manifest.documents == len(TOLD)
    assert not report.folded
    assert not report.manifest.extras


def test_folding_hides_nothing_from_a_reader_or_a_filter(tmp_path: Path, embedder: Any) -> None:
    report = build(
        tmp_path,
        embedder,
        [
            record("a", text(1), groups=["crew"]),
            record("public", text(1)),
            record("crew too", text(1), groups=["crew"]),
            record("of a year", text(1), groups=["crew"], year=1999),
        ],
    )
    assert folded(tmp_path) == {"crew too": "a"}
    assert indexed(tmp_path) == {"a", "public", "of a year"}
    assert any("other groups or fields" in line for line in report.troubles)


def test_what_is_folded_comes_back_when_what_stood_for_it_is_deleted(
    tmp_path: Path, embedder: Any
) -> None:
    build(tmp_path, embedder, TOLD)
    report = delete_documents(["a"], tmp_path / "index", embedder)
    assert report.returned == ("same",)
    assert indexed(tmp_path) == {"same", "far", "b"}
    assert folded(tmp_path) == {"near": "same", "shouted": "same"}
    assert delete_documents(["near"], tmp_path / "index", embedder).deleted == ("near",)
    assert folded(tmp_path) == {"shouted": "same"}
    delete_documents(["same", "shouted"], tmp_path / "index", embedder)
    assert indexed(tmp_path) == {"far", "b"}
    assert folded(tmp_path) == {}


def test_what_is_folded_comes_back_when_what_stood_for_it_changes(
    tmp_path: Path, embedder: Any
) -> None:
    build(tmp_path, embedder, TOLD)
    report = add(tmp_path, embedder, record("a", text(7)))
    assert (report.replaced, report.returned) == (1, ("same",))
    assert indexed(tmp_path) == {"a", "same", "far", "b"}


def test_additions_are_held_against_what_is_there(tmp_path: Path, embedder: Any) -> None:
    build(tmp_path, embedder, TOLD)
    report = add(tmp_path, embedder, record("late", text(2, changed=1)), record("c", text(3)))
    assert report.added == 1
    assert [(one.id, one.kept) for one in report.folded] == [("late", "b")]
    # The same again is nothing new, and what was folded may say something of its own later.
    assert add(tmp_path, embedder, record("late", text(2, changed=1))).unchanged == 1
    assert add(tmp_path, embedder, record("late", text(4))).added == 1
    assert "late" not in folded(tmp_path)
    # A document may turn into what another says already.
    report = add(tmp_path, embedder, record("late", text(3)))
    assert folded(tmp_path)["late"] == "c"
    assert "late" not in indexed(tmp_path)


def test_what_is_gone_stands_for_nothing(tmp_path: Path, embedder: Any) -> None:
    build(tmp_path, embedder, TOLD)
    delete_documents(["b"], tmp_path / "index", embedder)
    assert add(tmp_path, embedder, record("b again", text(2))).added == 1


def test_the_memory_of_many_changes_is_joined(tmp_path: Path, embedder: Any) -> None:
    build(tmp_path, embedder, TOLD)
    for number in range(10, 22):
        add(tmp_path, embedder, record(f"d{number}", text(number)))
    assert len(Manifest.read(tmp_path / "index").extras) <= 9
    assert folded(tmp_path) == {"same": "a", "near": "a", "shouted": "a"}
    report = add(tmp_path, embedder, *(record(f"e{n}", text(n)) for n in range(10, 22)))
    assert {one.id: one.kept for one in report.folded} == {f"e{n}": f"d{n}" for n in range(10, 22)}


@pytest.mark.parametrize("jaccard", [0.5, 0.7, 0.9, 0.98])
def test_similarity_is_that_of_the_shingles(jaccard: float) -> None:
    """128 slots estimate a similarity with a deviation of at most 0.045."""
    dice, estimates = np.random.default_rng(3), []
    for number in range(40):
        # Unequal words at the end: sets of n shingles each, sharing i, with i / (2n - i) = J.
        num = 400
        shared = round(2 * num * jaccard / (1 + jaccard))
        first = [f"x{n}" for n in dice.integers(0, 10**9, num + 2)]
        second = first[: shared + 2] + [f"y{number}z{n}" for n in range(num - shared)]
        slots_NS, _ = Signer().sign([" ".join(first), " ".join(second)])
        estimates.append(np.mean(slots_NS[0] == slots_NS[1]))
    assert np.mean(estimates) == pytest.approx(jaccard, abs=0.03)


def test_near_duplicates_are_seldom_missed_and_others_never_folded(tmp_path: Path) -> None:
    """One word of 120 changed is a similarity of 0.95; eight, of 0.66."""
    folding = Folding(FOLD_AT, tmp_path / "spool")
    told = [Document(f"d{n}", "", text(n)) for n in range(200)]
    near = [Document(f"n{n}", "", text(n, changed=1)) for n in range(200)]
    far = [Document(f"f{n}", "", text(n, changed=8)) for n in range(200)]
    found = []
    for batch in (told, near, far):
        candidates = [Candidate(one, b"x" * 16) for one in batch]
        found.append([one.kept if one else None for one in folding.judge(candidates, Troubles())])
    assert found[0] == [None] * 200
    assert sum(kept == f"d{n}" for n, kept in enumerate(found[1])) >= 198
    assert found[2] == [None] * 200


@pytest.mark.parametrize("body", ["", "!?", "one", "one two", "é" * 3, "word " * 10, "\ud800"])
def test_any_text_has_a_signature_of_its_own(body: str) -> None:
    slots_NS, bands_NB = Signer().sign([body, "quite another text than this", body])
    assert np.array_equal(slots_NS[0], slots_NS[2])
    assert not set(bands_NB[0].tolist()) & set(bands_NB[1].tolist())


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    folding = Folding(FOLD_AT, tmp_path / "spool")
    for start in range(0, 300, 100):
        batch = [Document(f"ö{n}", "", text(n)) for n in range(start, start + 100)]
        list(folding.judge([Candidate(one, b"d" * 16) for one in batch], Troubles()))
    folding.write(lambda _instead: tmp_path)
    run = Run.read(tmp_path)
    assert [one.id for one in run.lines()] == [f"ö{n}" for n in range(300)]
    _, bands_NB = Signer().sign([text(n) for n in range(300)])
    assert np.array_equal(run.bands(), bands_NB)
    assert all(n in lines for n, lines in enumerate(run.near(bands_NB)))
