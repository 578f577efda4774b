"""Runs the shape of retrieval on the fleet and measures what the plan predicted, under its names.

It knows nothing of the predictions: it is given a scaled shape and a corpus, and gives numbers.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from sextant.axes import Axis
from sextant.errors import InputError, missing_engine
from sextant.fleet import Deadline, Fleet, Gang, Ledger
from sextant.search.manifest import Manifest
from sextant.search.stored import INDEX_FILE
from sextant.systems.rag.build import build_index
from sextant.systems.rag.chunk import ChunkRule, chunks
from sextant.systems.rag.document import Corpus, Troubles
from sextant.systems.rag.embed import Embedder, encode_blocks
from sextant.systems.rag.model import ModelFolder
from sextant.systems.rag.progress import Progress
from sextant.systems.rag.service import Result, Service, open_service

_SAMPLE = 256
_WARM_QUERIES = 30
_THROUGHPUT_S = 4.0
_DEADLINE_S = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Material:
    """The part of a corpus that a rehearsal works on, and what is known of it before it runs."""

    corpus: Corpus
    passages: int
    passage_tokens: float
    sample: tuple[str, ...]
    """Passages, evenly over the corpus, whose embedding is timed."""
    questions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Observed:
    """What a rehearsal measured: values by the predictions' names, and the lean of its ledgers."""

    values: Mapping[str, float]
    lean: Mapping[str, Mapping[str, float]]
    results: tuple[Result, ...]


def gather_material(corpus: Corpus, folder: ModelFolder, most: int, num_questions: int) -> Material:
    """Reads documents until they make `most` passages; counts tokens, and makes questions of
    titles.

    Raises:
        InputError: the corpus holds no document with text.
    """
    window = folder.max_tokens - folder.num_special_tokens
    rule = ChunkRule(max_tokens=window, overlap_tokens=32, first_only=corpus.first_window)
    texts: list[str] = []
    titles: list[str] = []
    for document in corpus.documents(Troubles()):
        cut = [chunk.embedded for chunk in chunks(document, folder, rule)]
        # A long document ends the reading only once there is enough to rehearse on without it.
        if titles and len(texts) + len(cut) > most and 2 * len(texts) >= most:
            break
        texts += cut
        titles.append(document.title or cut[0][:60])
    sample = tuple(texts[:: max(1, len(texts) // _SAMPLE)][:_SAMPLE])
    tokens = statistics.mean(len(ids) for ids in folder.token_ids(list(sample)))
    step = max(1, len(titles) // num_questions)
    asked = [f"What is {title} and how is it used?" for title in titles[::step]]
    questions = tuple(islice((q for _ in range(num_questions) for q in asked), num_questions))
    limited = replace(corpus, limit=len(titles))
    return Material(
        corpus=limited,
        passages=len(texts),
        passage_tokens=tokens,
        sample=sample,
        questions=questions,
    )


def rehearse(
    material: Material,
    index_dir: Path,
    embedder: Embedder,
    start: Callable[[], Fleet],
    *,
    shards: int,
    k: int,
    clients: int,
    progress: Progress,
) -> Observed:
    """Builds the index, serves it from one process a shard, and measures.

    The fleet is started once embedding has been timed: its own start would take the cores from it.

    Raises:
        InputError: the corpus or the disk refuses.
        EngineError: an engine failed.
    """
    # Every passage counts, near-duplicates too; and the plan's shape is that of dense search.
    report = build_index(
        material.corpus,
        index_dir,
        embedder,
        num_shards=shards,
        fold_at=None,
        progress=progress,
    )
    asking: dict[str, Any] = {"k": k, "mode": "dense", "deadline_s": _DEADLINE_S}
    values = {"embed_passages_per_s": _embedding_rate(embedder, material.sample, progress)}
    progress.stage("starting shards", shards)
    fleet = start()
    start_s = time.perf_counter()
    with open_service(index_dir, fleet, embedder=embedder) as service:
        values["gang_ready_s"] = time.perf_counter() - start_s
        values |= _sizes(report.manifest, _gang(service))
        service.warm()
        for question in material.questions[:_WARM_QUERIES]:
            service.search(question, **asking)
        before = _charges(service)
        progress.stage("asking", len(material.questions))
        results = []
        for question in material.questions:
            results.append(service.search(question, **asking))
            progress.advance()
        lean = _lean_between(before, _charges(service))
        values |= _latencies(results)
        progress.stage("asking from several clients", None)
        values["queries_per_s"] = _throughput(service, material.questions, asking, clients)
        values["recall_without_a_shard"] = _recall_without(service, material.questions, k)
    return Observed(values=values, lean=lean, results=tuple(results))


def _embedding_rate(embedder: Embedder, sample: Sequence[str], progress: Progress) -> float:
    progress.stage("timing the embedder", len(sample))
    embedder.encode(sample[:8])
    start_s = time.perf_counter()
    encode_blocks(embedder, sample, progress.advance)
    return len(sample) / (time.perf_counter() - start_s)


def _gang(service: Service) -> Gang:
    assert isinstance(service.gang, Gang)
    return service.gang


def _sizes(manifest: Manifest, gang: Gang) -> dict[str, float]:
    try:
        import psutil
    except ImportError:
        raise missing_engine("psutil", "rag") from None
    files = sum(card.file_bytes(INDEX_FILE) for card in manifest.shards)
    pids = [pid for name in gang.names if (pid := gang.pid(name)) is not None]
    memory = statistics.mean(psutil.Process(pid).memory_info().rss for pid in pids)
    vectors = sum(card.vectors for card in manifest.shards)
    return {
        "index_raw_bytes": float(vectors * manifest.dims * 4),
        "index_bytes": float(files),
        "shard_memory_bytes": float(memory),
    }


def _latencies(results: Sequence[Result]) -> dict[str, float]:
    def median(stage: str) -> float:
        return statistics.median(result.timing[stage] for result in results)

    totals = sorted(result.timing["total_s"] for result in results)
    handles = [answer.handle_s for result in results for answer in result.shards]
    return {
        "embed_query_s": median("embed_s"),
        "shard_search_s": statistics.median(handles),
        "fan_out_s": median("fan_out_s"),
        "merge_s": median("merge_s"),
        "query_p50_s": statistics.median(totals),
        "query_p99_s": totals[min(len(totals) - 1, int(0.99 * len(totals)))],
    }


def _throughput(
    service: Service, questions: Sequence[str], asking: dict[str, Any], clients: int
) -> float:
    """Answers a second with so many clients that each ask again as soon as they are answered."""
    end_s = time.perf_counter() + _THROUGHPUT_S
    counts = [0] * clients

    def client(number: int) -> None:
        while time.perf_counter() < end_s:
            question = questions[(number + counts[number] * clients) % len(questions)]
            service.search(question, **asking)
            counts[number] += 1

    start_s = time.perf_counter()
    threads = [threading.Thread(target=client, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_THROUGHPUT_S + 10 * _DEADLINE_S)
    return sum(counts) / (time.perf_counter() - start_s)


def _recall_without(service: Service, questions: Sequence[str], k: int) -> float:
    """The share of the true top K that is left when one shard is not asked: another each query."""
    vectors_QD = service.embed(list(dict.fromkeys(questions)))
    deadline = Deadline.after(10 * _DEADLINE_S)
    found = service.search_vectors(vectors_QD, k=k, deadline=deadline, with_rows=False)
    if found.coverage < 1.0:
        raise InputError(f"shards are missing: {found.missing}")
    names = [card.name for card in service.manifest.shards]
    here = [
        hit.shard != names[number % len(names)]
        for number, hits in enumerate(found.hits)
        for hit in hits
    ]
    return sum(here) / len(here)


def _charges(service: Service) -> Ledger:
    """Everything charged so far: by the service, by asking, and by every member."""
    gang = _gang(service)
    whole = Ledger()
    whole.merge(service.ledger)
    whole.merge(gang.ledger)
    for snapshot in gang.ledgers(_DEADLINE_S).values():
        whole.merge(snapshot)
    return whole


def _lean_between(before: Ledger, after: Ledger) -> dict[str, dict[str, float]]:
    was = before.snapshot()
    between = Ledger()
    for name, entry in after.snapshot().items():
        old = was.get(name, {})
        between.charge(
            Axis(name),
            busy_s=entry["busy_s"] - old.get("busy_s", 0.0),
            waiting_s=entry["waiting_s"] - old.get("waiting_s", 0.0),
        )
    return between.lean()
