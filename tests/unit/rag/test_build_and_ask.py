"""From a corpus to answers with a model of a few lines: resuming, switching, citing, abstaining."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sextant.errors import InputError
from sextant.search.manifest import Manifest
from sextant.systems.rag.answerers import ExtractiveAnswerer
from sextant.systems.rag.build import BuildReport, build_index
from sextant.systems.rag.corpus import open_corpus
from sextant.systems.rag.service import Service, open_service

TOPICS = ("tides", "volcanoes", "glaciers", "comets", "beetles", "violins", "bridges", "yeast")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """40 documents of some sentences each; each sentence of a document says another thing."""
    path = tmp_path / "corpus.jsonl"
    with path.open("w") as stream:
        for number in range(40):
            topic = TOPICS[number % 8]
            text = (
                f"Item {number} is about {topic} alone. The colour of {topic}{number} is green. "
                f"Its weight comes to w{number} grams. Nobody knows where h{number} was made."
            )
            stream.write(json.dumps({"_id": f"d{number}", "title": topic, "text": text}) + "\n")
    return path


def build(corpus: Path, index_dir: Path, embedder: Any, **options: Any) -> BuildReport:
    options = {"num_shards": 3, "overlap_tokens": 0, **options}
    return build_index(open_corpus(str(corpus)), index_dir, embedder, **options)


def opened(corpus: Path, index_dir: Path, embedder: Any, **options: Any) -> Service:
    build(corpus, index_dir, embedder, **options)
    return open_service(index_dir, embedder=embedder)


def test_hits_and_citations_are_exact(corpus: Path, tmp_path: Path, embedder: Any) -> None:
    texts = {d["_id"]: d["text"] for d in map(json.loads, corpus.read_text().splitlines())}
    with opened(corpus, tmp_path / "index", embedder) as service:
        service.warm()
        result = service.ask("What is the colour of violins5?", k=5)
    assert result.citations[0].doc == "d5"
    assert "violins5 is green" in str(result.answer)
    for passage in (*result.citations, *result.hits):
        assert texts[passage.doc][passage.start : passage.end] == passage.text
    assert result.coverage == result.expected_recall == 1.0


def test_timings_sum_and_json_keeps_its_promise(
    corpus: Path, tmp_path: Path, embedder: Any
) -> None:
    with opened(corpus, tmp_path / "index", embedder) as service:
        value = json.loads(json.dumps(service.ask("volcanoes", deadline_s=2).as_json()))
    assert set(value) >= {
        "query", "answer", "citations", "hits", "coverage", "expected_recall", "missing",
        "timing", "deadline_s",
    }  # fmt: skip
    timing = value["timing"]
    assert sum(s for stage, s in timing.items() if stage != "total_s") == pytest.approx(
        timing["total_s"]
    )
    assert set(timing) == {"embed_s", "fan_out_s", "merge_s", "answer_s", "other_s", "total_s"}
    assert set(value["hits"][0]) >= {"doc", "title", "start", "end", "text", "score"}


def test_nothing_relevant_is_said_so(corpus: Path, tmp_path: Path, embedder: Any) -> None:
    with opened(corpus, tmp_path / "index", embedder) as service:
        result = service.ask("Quantum chromodynamics lattice")
    assert result.answer is None
    assert result.note == "nothing relevant found"
    assert result.citations == ()
    assert result.hits


def test_no_time_for_an_answer_weighs_words_alone(
    corpus: Path, tmp_path: Path, embedder: Any
) -> None:
    with opened(corpus, tmp_path / "index", embedder) as service:
        service.answerer = ExtractiveAnswerer()
        service.answerer.usual_s = 60.0
        result = service.ask("What is the colour of violins5?", deadline_s=5)
    assert "words alone" in result.note
    assert "violins5 is green" in str(result.answer)


def test_the_number_of_shards_does_not_change_the_hits(
    corpus: Path, tmp_path: Path, embedder: Any
) -> None:
    found = []
    for shards in (1, 5):
        with opened(corpus, tmp_path / f"i{shards}", embedder, num_shards=shards) as service:
            found.append(service.search("green violins", k=30).hits)
    assert found[0] == found[1]


def test_a_vector_may_ask(corpus: Path, tmp_path: Path, embedder: Any) -> None:
    with opened(corpus, tmp_path / "index", embedder) as service:
        vector_D = service.embed(["about comets alone"])[0]
        by_text = service.search("about comets alone", mode="dense")
        assert service.search(vector_D).hits == by_text.hits
        with pytest.raises(InputError, match="finite"):
            service.search(np.full(64, np.nan, np.float32))


@pytest.mark.parametrize(
    ("question", "options"),
    [
        ("", {}),
        (" \n", {}),
        ("x" * 1_000_000, {}),
        ("q", {"k": 0}),
        ("q", {"deadline_s": 0}),
        ("q", {"deadline_s": float("nan")}),
    ],
)
def test_bad_questions_are_refused(
    corpus: Path, tmp_path: Path, embedder: Any, question: str, options: dict[str, float]
) -> None:
    with (
        opened(corpus, tmp_path / "index", embedder) as service,
        pytest.raises(InputError),
    ):
        service.search(question, **options)


def test_a_killed_build_goes_on_and_gives_the_same_index(
    corpus: Path, tmp_path: Path, embedder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sextant.systems.rag.blocks.BLOCK_CHUNKS", 10)
    whole = build(corpus, tmp_path / "whole", type(embedder)())
    old = build(corpus, tmp_path / "index", type(embedder)(), num_shards=1).manifest
    embedder.dies_after = 25
    with pytest.raises(KeyboardInterrupt):
        build(corpus, tmp_path / "index", embedder)
    assert Manifest.read(tmp_path / "index") == old
    embedder.dies_after = None
    again = build(corpus, tmp_path / "index", embedder)
    assert again.reused == 20
    assert again.embedded == whole.manifest.vectors - 20
    assert again.manifest.key == whole.manifest.key
    assert [card.files for card in again.manifest.segments()] == [
        card.files for card in whole.manifest.segments()
    ]
    assert not (tmp_path / "index" / "building").exists()


def test_the_same_build_does_nothing_but_damage_is_mended(
    corpus: Path, tmp_path: Path, embedder: Any
) -> None:
    first = build(corpus, tmp_path / "index", embedder)
    num_encoded = embedder.num_encoded
    again = build(corpus, tmp_path / "index", embedder)
    assert again.up_to_date
    assert again.manifest == first.manifest
    assert embedder.num_encoded == num_encoded
    victim = tmp_path / "index" / first.manifest.shards[0].segments[0].folder / "rows.bin"
    victim.write_bytes(b"")
    assert not build(corpus, tmp_path / "index", embedder).up_to_date
    open_service(tmp_path / "index", embedder=embedder).close()


def test_two_builds_in_one_place_are_refused(corpus: Path, tmp_path: Path, embedder: Any) -> None:
    class Nosy:
        """Tries to build while it watches a build."""

        tried = False

        def stage(self, what: str, total: int | None) -> None:  # noqa: ARG002
            if not self.tried:
                self.tried = True
                with pytest.raises(InputError, match="another build"):
                    build(corpus, tmp_path / "index", embedder)

        def advance(self, steps: int = 1) -> None:
            pass

    nosy = Nosy()
    build(corpus, tmp_path / "index", embedder, progress=nosy)
    assert nosy.tried


def test_an_index_of_another_model_is_refused(corpus: Path, tmp_path: Path, embedder: Any) -> None:
    build(corpus, tmp_path / "index", embedder)
    other = type(embedder)()
    other.folder.fingerprint = "0" * 32
    with pytest.raises(InputError, match="another model"):
        open_service(tmp_path / "index", embedder=other)


def test_an_index_that_is_a_file_is_refused(corpus: Path, tmp_path: Path, embedder: Any) -> None:
    (tmp_path / "index").write_text("a file")
    with pytest.raises(InputError, match="a file, not a folder"):
        build(corpus, tmp_path / "index", embedder)
