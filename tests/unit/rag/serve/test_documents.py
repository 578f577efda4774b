"""Documents added, replaced and deleted over HTTP while the index serves."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from served import Serving, serving

from sextant.search.manifest import Manifest
from sextant.search.workshop import workshop
from sextant.systems.rag.build import build_index
from sextant.systems.rag.corpus import open_corpus
from sextant.systems.rag.live import LiveService
from sextant.systems.rag.serve.gather import SharedEmbedder
from sextant.systems.rag.serve.tokens import Tokens
from sextant.systems.rag.service import open_service

STAFF, CHIEF = "staff-token-0123456", "chief-token-0123456"
NEW = {"id": "n1", "title": "Quolls", "text": "The quoll sleeps by day."}


@pytest.fixture
def index(tmp_path: Path, embedder: Any) -> Path:
    records = [
        {"_id": f"a/{n}", "title": "tides", "text": f"Tides number {n} are wet."} for n in range(8)
    ]
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, records)))
    corpus = open_corpus(str(tmp_path / "corpus.jsonl"))
    build_index(corpus, tmp_path / "index", embedder, num_shards=2)
    return tmp_path / "index"


@pytest.fixture
def live(index: Path, embedder: Any) -> Iterator[LiveService]:
    shared: Any = SharedEmbedder(embedder)
    service = open_service(index, embedder=shared)
    with LiveService(index, service, embedder_for=lambda _: shared, watch_s=0.01) as found:
        yield found


@pytest.fixture
def server(live: LiveService, index: Path) -> Iterator[Serving]:
    with serving(live, index_dir=index) as found:
        yield found


def found(server: Serving, question: str, **how: Any) -> list[str]:
    """The documents that a question finds."""
    told = server.post("/search", {"question": question, "k": 3, **how})
    assert told.status == 200, told
    return [hit["doc"] for hit in told.json["hits"]]


def test_a_document_is_found_once_it_is_added_and_no_more_once_it_is_deleted(
    server: Serving, index: Path
) -> None:
    told = server.post("/documents", {"documents": [NEW]}).json
    assert (told["added"], told["replaced"], told["documents"], told["served"]) == (1, 0, 9, True)
    assert told["generation"] == Manifest.read(index).generation
    assert found(server, "quoll")[0] == "n1"
    assert server.get("/shards").json["documents"] == 9
    again = server.post("/documents", {"documents": [NEW]}).json
    assert (again["added"], again["unchanged"]) == (0, 1)
    gone = server.call("DELETE", "/documents/n1").json
    assert (gone["deleted"], gone["documents"], gone["served"]) == (["n1"], 8, True)
    assert "n1" not in found(server, "quoll")
    problem = server.call("DELETE", "/documents/n1").problem(404)
    assert problem["error"] == "no such document"
    assert str(index) not in json.dumps(problem)


def test_an_id_may_hold_slashes_and_a_replaced_document_says_the_new(server: Serving) -> None:
    new = {"id": "a/3", "text": "Wombats dig."}
    assert server.post("/documents", {"documents": [new]}).json["replaced"] == 1
    told = server.post("/search", {"question": "wombats dig", "k": 1}).json
    assert [(hit["doc"], hit["text"]) for hit in told["hits"]] == [("a/3", "Wombats dig.")]
    assert server.call("DELETE", "/documents/a/3").json["deleted"] == ["a/3"]
    assert server.call("DELETE", "/documents/a%2F4").json["deleted"] == ["a/4"]


def test_fields_and_groups_go_with_a_document(server: Serving) -> None:
    fields = {"year": 2021, "lang": "en", "score": 0.5, "draft": False}
    new = [{**NEW, "fields": fields, "groups": ["staff"]}]
    assert server.post("/documents", {"documents": new}).status == 200
    asked = {"question": "quoll", "filter": {"year": {"gte": 2021}, "draft": False}}
    assert [hit["doc"] for hit in server.post("/search", asked).json["hits"]] == ["n1"]
    for groups, sees in (([], False), (["hr"], False), (["hr", "staff"], True), (None, True)):
        assert ("n1" in found(server, "quoll", groups=groups)) is sees, groups


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "documents"),
        ({"documents": []}, "documents"),
        ({"documents": [{}]}, "documents.0"),
        ({"documents": [{"id": "", "text": "t"}]}, "documents.0"),
        ({"documents": [{**NEW, "fields": {"a": [1]}}]}, "documents.0"),
        ({"documents": [{**NEW, "fields": {"": 1}}]}, "documents.0"),
        ({"documents": [{**NEW, "groups": [""]}]}, "documents.0"),
        ({"documents": [{**NEW, "owner": "me"}]}, "documents.0"),
        ({"documents": [NEW] * 4}, "documents"),
    ],
)
def test_a_wrong_document_changes_nothing(
    live: LiveService, index: Path, body: Any, where: str
) -> None:
    before = Manifest.read(index)
    with serving(live, index_dir=index, documents=3) as server:
        assert server.post("/documents", body).problem(422)["where"] == where
        server.post("/documents", b'{"documents": [{"id": "x", "text": "\\ud800"}]}').problem(422)
    assert Manifest.read(index) == before


def test_documents_without_text_are_the_senders_fault_and_the_disk_is_not(
    server: Serving, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blank = [{"id": "n3", "text": " \n"}, {"id": "n4", "title": "\t", "text": ""}]
    problem = server.post("/documents", {"documents": blank}).problem(422)
    assert problem["where"] == "documents"

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(index))

    before = Manifest.read(index)
    with monkeypatch.context() as patched:
        patched.setattr("sextant.search.segment_writer.sync_file", full)
        problem = server.post("/documents", {"documents": [NEW]}).problem(503)
    assert "No space left" in problem["error"]
    assert str(index) not in json.dumps(problem)
    assert Manifest.read(index) == before
    assert server.post("/documents", {"documents": [NEW]}).status == 200


def test_only_who_sees_everything_may_change_anything(
    live: LiveService, index: Path, tmp_path: Path
) -> None:
    (tmp_path / "tokens").write_text(f"{STAFF} staff\n{CHIEF} *\n")
    tokens = Tokens.read(tmp_path / "tokens")
    large = {"documents": [{"id": "n2", "text": "word " * 40_000}]}
    with serving(live, tokens=tokens, index_dir=index) as server:
        staff, chief = ({"Authorization": f"Bearer {token}"} for token in (STAFF, CHIEF))
        server.post("/documents", {"documents": [NEW]}).problem(401)
        server.post("/documents", {"documents": [NEW]}, headers=staff).problem(403)
        server.call("DELETE", "/documents/a/1", headers=staff).problem(403)
        # Nor may they fill the memory with what would be refused.
        server.post("/documents", large, headers=staff).problem(413)
        assert server.post("/documents", large, headers=chief).json["added"] == 1
        assert server.call("DELETE", "/documents/a/1", headers=chief).status == 200


def test_another_page_cannot_change_the_index(server: Serving, index: Path) -> None:
    before = Manifest.read(index)
    evil = {"Origin": "https://evil.example"}
    server.post("/documents", {"documents": [NEW]}, headers=evil).problem(403)
    server.call("DELETE", "/documents/a/1", headers=evil).problem(403)
    assert Manifest.read(index) == before


def test_changes_at_once_are_made_one_after_the_other(server: Serving) -> None:
    def add(number: int) -> int:
        new = {"id": f"m{number}", "text": f"Marsupial number {number}."}
        return server.post("/documents", {"documents": [new]}).status

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(add, range(6))) == [200] * 6
    assert server.get("/shards").json["documents"] == 14


def test_a_change_of_another_process_is_waited_for_and_then_named(
    server: Serving, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sextant.systems.rag.grow._WAIT_S", 0.2)
    with workshop(index):
        problem = server.post("/documents", {"documents": [NEW]}).problem(409)
    assert "another" in problem["error"]
    assert server.post("/documents", {"documents": [NEW]}).status == 200
