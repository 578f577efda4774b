"""One shard of 16 stopped (SIGSTOP) under load: lateness, coverage, recall against the expected."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from benchmarks.bench import Figure, needs
from sextant.fleet import Fault, Fleet
from sextant.systems.rag.beir import read_queries
from sextant.systems.rag.build import build_index
from sextant.systems.rag.corpus import open_corpus
from sextant.systems.rag.document import Troubles
from sextant.systems.rag.drill import drill
from sextant.systems.rag.embed import open_embedder
from sextant.systems.rag.service import open_service

_DOCUMENTS, _SHARDS, _K, _DEADLINE_S, _STOPPED = 1_600, 16, 10, 0.2, "8s"
_LATE_S, _RECALL_OFF = 0.01, 0.02
_LEFT, _UNEVEN = 1 - 1 / _SHARDS, 0.02
"""Documents lie in shards by a hash, so no shard has exactly its share of them."""


def run() -> list[Figure]:
    """Drives SciFact claims at sixteen shard processes while one is stopped for some seconds."""
    folder = needs("scifact")
    questions = list(read_queries(folder / "queries.jsonl", Troubles()).values())
    embedder = open_embedder()
    with tempfile.TemporaryDirectory() as name, Fleet.start() as fleet:
        corpus = open_corpus(str(folder), limit=_DOCUMENTS)
        build_index(corpus, Path(name), embedder, num_shards=_SHARDS)
        with open_service(Path(name), fleet, embedder=embedder) as service:
            fault = Fault.parse(f"stop:shard/3@1s+{_STOPPED}")
            seen = drill(service, questions, [fault], k=_K, deadline_s=_DEADLINE_S)
    partial = [one for one in seen.asked if one.coverage < 1]
    assert partial, f"no answer was partial: {seen.shots}"
    lateness = sorted(max(0.0, one.latency_s - _DEADLINE_S) for one in seen.asked)
    late = lateness[int(0.99 * len(lateness))]
    coverage = statistics.median(one.coverage for one in partial)
    recall = statistics.mean(one.recall for one in partial)
    expected = statistics.mean(one.expected_recall for one in partial)
    shot = seen.shots[0]
    return [
        Figure(
            name=f"lateness p99 of {len(lateness)} answers",
            measured=late,
            unit="s",
            bar="<= deadline + 10 ms",
            held=late <= _LATE_S and shot.landed,
            beside={"worst": lateness[-1], "deadline_s": _DEADLINE_S},
        ),
        Figure(
            name=f"coverage with one of {_SHARDS} stopped",
            measured=coverage,
            unit="",
            bar=f"{_SHARDS - 1}/{_SHARDS}",
            held=abs(coverage - _LEFT) < _UNEVEN,
            beside={f"{_SHARDS - 1}/{_SHARDS}": _LEFT},
        ),
        Figure(
            name=f"recall of {len(partial)} partial answers",
            measured=recall,
            unit="",
            bar=f"within {_RECALL_OFF} of the expected",
            held=abs(recall - expected) <= _RECALL_OFF,
            beside={"expected": expected},
        ),
        Figure(
            name="stopped shard noticed after",
            measured=shot.recovery.detect_s or float("inf"),
            unit="s",
            beside={"full again": shot.recovery.full_s or float("inf")},
        ),
    ]
