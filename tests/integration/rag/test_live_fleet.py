"""An index changes under shard processes with replicas, and no question fails or is partial."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.word_embedder import WordEmbedder

from sextant.fleet import Fleet
from sextant.search.generations import GENERATIONS
from sextant.search.manifest import MANIFESTS, Manifest
from sextant.systems.rag.build import build_index
from sextant.systems.rag.corpus import open_corpus
from sextant.systems.rag.document import Corpus
from sextant.systems.rag.grow import add_documents, delete_documents
from sextant.systems.rag.live import LiveService
from sextant.systems.rag.service import Result, open_service

WITHIN_S = 60.0


def corpus(tmp_path: Path, numbers: range) -> Corpus:
    path = tmp_path / f"{numbers.start}-{numbers.stop}.jsonl"
    told = [{"_id": f"d{n}", "text": f"Number {n} is painted c{n} by p{n}."} for n in numbers]
    path.write_text("".join(json.dumps(one) + "\n" for one in told))
    return open_corpus(str(path))


def until(what: Callable[[], bool]) -> None:
    end_s = time.monotonic() + WITHIN_S
    while not what():
        assert time.monotonic() < end_s, "it never came"
        time.sleep(0.02)


def test_processes_go_over_to_each_generation_without_a_partial_answer(tmp_path: Path) -> None:
    index_dir = tmp_path / "index"
    build_index(corpus(tmp_path, range(40)), index_dir, WordEmbedder(), num_shards=2)
    results: list[Result] = []
    errors: list[Exception] = []
    ended = threading.Event()

    def client(live: LiveService) -> None:
        while not ended.is_set():
            try:
                results.append(live.search("number 3 painted c3 by p3", k=3, deadline_s=30))
            except Exception as error:  # noqa: BLE001
                errors.append(error)

    def finds(number: int) -> bool:
        hits = live.search(f"number {number} painted c{number} by p{number}", k=1).hits
        return hits[0].doc == f"d{number}"

    with (
        Fleet.start() as fleet,
        LiveService(
            index_dir,
            open_service(index_dir, fleet, embedder=WordEmbedder(), replicas=2),
            fleet=fleet,
            replicas=2,
            watch_s=0.05,
        ) as live,
    ):
        asking = threading.Thread(target=client, args=(live,))
        asking.start()
        try:
            add_documents([corpus(tmp_path, range(40, 50))], index_dir, WordEmbedder())
            until(lambda: finds(45))
            delete_documents(["d45"], index_dir, WordEmbedder())
            until(lambda: not finds(45))
            # Another number of shards needs other processes.
            build_index(corpus(tmp_path, range(60)), index_dir, WordEmbedder(), num_shards=3)
            until(lambda: finds(55))
            count = len(results)
            until(lambda: len(results) > count + 5)
        finally:
            ended.set()
            asking.join(WITHIN_S)
        assert live.manifest == Manifest.read(index_dir)
        assert live.trouble == ""
    assert not errors
    assert len(results) > 20
    assert all(result.coverage == 1.0 and not result.missing for result in results)
    assert all(result.hits[0].doc == "d3" for result in results)
    # Nobody serves any more: only the last generation is left.
    (left,) = (index_dir / MANIFESTS).iterdir()
    assert left.stem == Manifest.read(index_dir).generation
    assert [path.name for path in (index_dir / GENERATIONS).iterdir()] == [left.stem]
