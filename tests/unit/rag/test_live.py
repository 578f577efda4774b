"""An index changes under a service, and no question fails or is answered in part."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sextant.search.generations import GENERATIONS
from sextant.search.manifest import Manifest
from sextant.search.service import open_local
from sextant.systems.rag.build import build_index
from sextant.systems.rag.corpus import open_corpus
from sextant.systems.rag.grow import add_documents, delete_documents
from sextant.systems.rag.live import LiveService
from sextant.systems.rag.remembered import corpus_of
from sextant.systems.rag.service import Result, Service, open_service

CLIENTS, WATCH_S, WITHIN_S = 3, 0.02, 20.0


def corpus(tmp_path: Path, numbers: range) -> Any:
    path = tmp_path / f"{numbers.start}-{numbers.stop}.jsonl"
    told = [
        {
            "_id": f"d{n}",
            "title": f"t{n}",
            "text": f"Number {n} is painted c{n} by p{n} on day y{n}.",
        }
        for n in numbers
    ]
    path.write_text("".join(json.dumps(one) + "\n" for one in told))
    return open_corpus(str(path))


@contextmanager
def asked_on(live: LiveService) -> Iterator[list[Result]]:
    """Asks all the while; what a question raised is raised at the end."""
    results: list[Result] = []
    errors: list[Exception] = []
    ended = threading.Event()

    def client() -> None:
        while not ended.is_set():
            try:
                results.append(live.search("number 3 painted c3", k=5, deadline_s=10))
            except Exception as error:  # noqa: BLE001
                errors.append(error)

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield results
    finally:
        ended.set()
        for thread in threads:
            thread.join(WITHIN_S)
    if errors:
        raise errors[0]


def until(what: Callable[[], bool]) -> None:
    end_s = time.monotonic() + WITHIN_S
    while not what():
        assert time.monotonic() < end_s, "it never came"
        time.sleep(0.01)


def docs(result: Result) -> list[str]:
    return [hit.doc for hit in result.hits]


def shows(live: LiveService, word: str, document: str) -> bool:
    return document in docs(live.search(f"number {word} painted c{word} by p{word}", k=1))


@pytest.fixture
def live(tmp_path: Path, embedder: Any) -> Iterator[LiveService]:
    build_index(corpus(tmp_path, range(30)), tmp_path / "index", embedder, num_shards=2)
    other = type(embedder)()
    other.folder = type("Other", (type(embedder.folder),), {"fingerprint": "e" * 32})()
    service = open_service(tmp_path / "index", embedder=embedder)
    models = {embedder.folder.fingerprint: embedder, other.folder.fingerprint: other}
    with LiveService(
        tmp_path / "index",
        service,
        embedder_for=lambda manifest: models[manifest.space],
        watch_s=WATCH_S,
    ) as live:
        live.other = other
        yield live


def test_documents_come_and_go_while_questions_are_answered(
    live: LiveService, tmp_path: Path, embedder: Any
) -> None:
    index_dir = tmp_path / "index"
    with asked_on(live) as results:
        for start in range(30, 42, 3):
            add_documents([corpus(tmp_path, range(start, start + 3))], index_dir, type(embedder)())
            until(lambda start=start: shows(live, str(start), f"d{start}"))
        delete_documents(["d31"], index_dir, type(embedder)())
        until(lambda: not shows(live, "31", "d31"))
    assert len(results) > 50
    assert all(result.coverage == 1.0 and not result.missing for result in results)
    assert all(docs(result)[0] == "d3" for result in results)
    assert live.manifest == Manifest.read(index_dir)
    assert live.trouble == ""


def test_another_model_takes_over_in_one_switch(live: LiveService, tmp_path: Path) -> None:
    index_dir = tmp_path / "index"
    old = live.manifest
    with asked_on(live) as results:
        again = corpus_of(index_dir, old)
        report = build_index(again, index_dir, live.other, num_shards=2)
        assert report.manifest.space != old.space
        until(lambda: live.manifest == report.manifest)
        assert live.embedder is live.other
        count = len(results)
        until(lambda: len(results) > count + 10)
    assert all(result.coverage == 1.0 and docs(result)[0] == "d3" for result in results)
    assert live.manifest.documents == old.documents


def test_another_number_of_shards_takes_over(
    live: LiveService, tmp_path: Path, embedder: Any
) -> None:
    with asked_on(live) as results:
        report = build_index(
            corpus(tmp_path, range(40)), tmp_path / "index", type(embedder)(), num_shards=5
        )
        until(lambda: live.manifest == report.manifest)
        until(lambda: len(results) > 0)
    assert all(result.coverage == 1.0 for result in results)
    assert shows(live, "35", "d35")


def test_shards_of_a_generation_that_cannot_be_served_are_ended(
    live: LiveService, tmp_path: Path, embedder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gangs: list[Any] = []

    def opened(*how: Any) -> Any:
        gangs.append(open_local(*how))
        return gangs[-1]

    def broken(*_: Any) -> Any:
        raise OSError("no descriptor is left")

    monkeypatch.setattr("sextant.systems.rag.live.open_local", opened)
    monkeypatch.setattr(Service, "renewed", broken)
    build_index(corpus(tmp_path, range(9)), tmp_path / "index", type(embedder)(), num_shards=3)
    until(lambda: "no descriptor" in live.trouble)
    assert all(pool._shutdown for gang in gangs for pool in gang._pools.values())
    assert len(gangs) == 1
    assert shows(live, "20", "d20")


def test_a_generation_that_is_torn_is_refused_and_the_old_one_serves_on(
    live: LiveService, tmp_path: Path, embedder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sextant.systems.rag.live._AGAIN_S", 0.05)
    index_dir = tmp_path / "index"
    old = live.manifest

    def torn(self: Manifest, folder: Path) -> None:
        for path in folder.glob(f"{GENERATIONS}/{self.generation}/shard-*/rows.bin"):
            path.write_bytes(path.read_bytes()[:-1])
        write(self, folder)

    write = Manifest.write
    monkeypatch.setattr(Manifest, "write", torn)
    with asked_on(live) as results:
        add_documents([corpus(tmp_path, range(50, 60))], index_dir, type(embedder)())
        until(lambda: "torn: rows.bin" in live.trouble)
        assert live.manifest == old
        count = len(results)
        until(lambda: len(results) > count + 5)
        # Mended by building again, it goes over.
        monkeypatch.setattr(Manifest, "write", write)
        build_index(corpus(tmp_path, range(60)), index_dir, type(embedder)(), num_shards=2)
        until(lambda: shows(live, "55", "d55"))
    assert all(result.coverage == 1.0 for result in results)
    assert live.trouble == ""


def test_an_answer_in_the_making_keeps_its_generation(
    live: LiveService, tmp_path: Path, embedder: Any
) -> None:
    index_dir = tmp_path / "index"
    old = live.manifest
    with live.service() as service:
        report = build_index(corpus(tmp_path, range(5)), index_dir, type(embedder)(), num_shards=2)
        until(lambda: live.manifest == report.manifest)
        assert service.manifest == old
        assert docs(service.search("number 20 painted c20", k=1)) == ["d20"]
        assert docs(live.search("number 20 painted c20", k=1)) != ["d20"]
