"""Questions over HTTP at four times what the service can sustain, with drills and new documents.

First closed loops find the sustainable rate; then questions come at four times that, on a schedule
that waits for nobody. Meanwhile replicas are stopped and documents are added. SEXTANT_OVERLOAD_S
sets how long it lasts: 60 s, or 1,200 for the soak.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count, cycle
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from benchmarks.asker import Asked, Load, asked
from benchmarks.bench import Figure
from sextant.systems.rag.build import build_index
from sextant.systems.rag.client import Client
from sextant.systems.rag.corpus import open_corpus
from sextant.systems.rag.embed import open_embedder
from sextant.systems.rag.serve.gather import SharedEmbedder
from sextant.systems.rag.service import open_service

SECONDS = float(os.environ.get("SEXTANT_OVERLOAD_S", "60"))
_DOCUMENTS, _SHARDS, _CLIENTS = 60, 2, 16
_SUSTAINED_S, _DEADLINE_S, _TIMES = 10.0, 1.0, 4.0
_EVERY_DRILL_S, _STOPPED_S, _EVERY_DOCUMENT_S = min(60.0, SECONDS / 3), 4.0, 3.0
_EVERY_MEMORY = 15
_GOODPUT, _LATE_S, _QUEUE, _GROWTH = 0.8, 0.05, 64, 1.25


def run() -> list[Figure]:
    """Serves an index of Python's documentation with two routers and two replicas a shard."""
    with tempfile.TemporaryDirectory() as name:
        index, embedder = Path(name) / "index", SharedEmbedder(open_embedder())
        corpus = open_corpus("stdlib", limit=_DOCUMENTS)
        build_index(corpus, index, embedder, num_shards=_SHARDS)
        questions = _questions(corpus)
        alone = _in_process(index, embedder, questions)
        with _Serving(index) as service:
            load = Load(
                urls=service.urls,
                questions=questions,
                deadline_s=30.0,
                seconds=_SUSTAINED_S,
                clients=_CLIENTS,
            )
            sustained = asked(load)
            rate = len([one for one in sustained if one.status == 200]) / _SUSTAINED_S
            before = service.memory_bytes()
            with ThreadPoolExecutor(3) as pool:
                until_s = time.monotonic() + SECONDS
                drills = pool.submit(service.drill, until_s)
                added = pool.submit(service.add, until_s)
                watched = pool.submit(service.watch, until_s)
                over = replace(
                    load,
                    deadline_s=_DEADLINE_S,
                    seconds=SECONDS,
                    clients=0,
                    rate=_TIMES * rate,
                )
                found = asked(over)
            queued, memory = watched.result()
            lost = service.lost(added.result())
        seen = _Seen(
            rate=rate,
            alone=alone,
            found=found,
            queued=queued,
            memory=memory,
            before=before,
            drills=drills.result(),
            added=added.result(),
            lost=lost,
        )
        return _figures(seen)


def _questions(corpus: Any) -> list[str]:
    from sextant.systems.rag.document import Troubles

    return [f"How do I use {one.title}?" for one in corpus.documents(Troubles())]


def _in_process(index: Path, embedder: SharedEmbedder, questions: Sequence[str]) -> float:
    """Questions a second without HTTP and without processes, by as many threads."""
    with open_service(index, embedder=embedder) as service, ThreadPoolExecutor(_CLIENTS) as pool:
        service.warm()
        end_s, turns = time.monotonic() + _SUSTAINED_S / 2, cycle(questions)

        def ask(_: int) -> int:
            number = 0
            while time.monotonic() < end_s:
                service.search(next(turns), deadline_s=30.0)
                number += 1
            return number

        return sum(pool.map(ask, range(_CLIENTS))) / (_SUSTAINED_S / 2)


class _Serving:
    """`sextant rag serve` as a process, and what is done to it."""

    def __init__(self, index: Path) -> None:
        self._log = index.parent / "log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sextant", "rag", "serve", "--index", str(index), "--port",
                 "0", "--json", "--routers", "2", "--replicas", "2"],
                stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self._log.read_text()
        self.urls: list[str] = json.loads(line)["urls"]
        self._lines = self._log.open()
        self._routers: set[int] = set()

    def __enter__(self) -> _Serving:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)
        self._lines.close()

    def watch(self, until_s: float) -> tuple[list[float], list[float]]:
        """The longer of the routers' queues, once a second; now and then the memory of them all.

        To add up a process's pages stops it for a while, so it is done seldom.
        """
        queued, memory = list[float](), list[float]()
        while time.monotonic() < until_s:
            if not len(queued) % _EVERY_MEMORY:
                memory.append(self.memory_bytes())
            queued.append(self._queued())
            time.sleep(1.0)
        return queued, [*memory, self.memory_bytes()]

    def _queued(self) -> float:
        texts = [urlopen(f"{url}/metrics", timeout=30).read().decode() for url in self.urls]
        lines = [line for text in texts for line in text.splitlines()]
        queued = [float(line.split()[1]) for line in lines if line.startswith("sextant_queued ")]
        return max(queued)

    def memory_bytes(self) -> float:
        """The proportional set sizes of all processes in all."""
        # What came since the last time: the log has two lines a question.
        for line in self._lines:
            if '"serving"' in line:
                self._routers.add(json.loads(line)["pid"])
        pids = {self._process.pid, *self._routers}
        for shard in json.load(urlopen(f"{self.urls[0]}/shards", timeout=30))["shards"]:
            pids |= {member["pid"] for member in shard["members"]}
        return sum(_pss_bytes(pid) for pid in pids)

    def drill(self, until_s: float) -> int:
        """Stops one replica after the other, each for some seconds; how many were stopped."""
        replicas = cycle([f"shard/{n}.{r}" for n in range(_SHARDS) for r in (0, 1)])
        number = 0
        while time.monotonic() + _EVERY_DRILL_S < until_s:
            time.sleep(_EVERY_DRILL_S)
            told = {"member": next(replicas), "seconds": _STOPPED_S}
            number += bool(_posted(f"{self.urls[0]}/drill/stop", told)["landed"])
        return number

    def add(self, until_s: float) -> list[str]:
        """Adds one document after the other; the ids of those that were acknowledged."""
        found = []
        for number in count():
            if time.monotonic() > until_s:
                return found
            one = {
                "id": f"new/{number}",
                "text": f"The word of document {number} is {_word(number)}.",
            }
            try:
                told = _posted(f"{self.urls[number % 2]}/documents", {"documents": [one]})
            except HTTPError as refusal:
                # Not acknowledged, so it may be lost; whoever adds it asks again.
                print(f"  not added: {refusal.code} {refusal.read()[:300]!r}", flush=True)
            else:
                found += [one["id"]] * told["added"]
            time.sleep(_EVERY_DOCUMENT_S)
        return found

    def lost(self, ids: Sequence[str]) -> int:
        """How many of the documents a search for their one word does not find."""
        missing = 0
        with Client(self.urls, deadline_s=30.0) as client:
            for name in ids:
                word = _word(int(name.partition("/")[2]))
                hits = client.search(word, k=1, mode="lexical").hits
                missing += not (hits and hits[0].doc == name)
        return missing


def _word(number: int) -> str:
    """A word that no other document has."""
    return "zq" + "".join(chr(ord("a") + int(digit)) for digit in f"{number:05d}")


def _posted(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=120) as answer:
        told: dict[str, Any] = json.load(answer)
    return told


def _pss_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """What was seen of one run.

    Attributes:
        rate: answers a second that closed loops sustained.
        alone: the same in one process, without HTTP.
        found: what became of every question under overload.
        queued: the longer of the routers' queues, once a second.
        memory: of all processes, in bytes, every few seconds and at the end.
        before: their memory before the overload.
        drills: replicas that were stopped.
        added: ids of documents that were acknowledged.
        lost: how many of them were not found afterwards.
    """

    rate: float
    alone: float
    found: Sequence[Asked]
    queued: Sequence[float]
    memory: Sequence[float]
    before: float
    drills: int
    added: Sequence[str]
    lost: int


def _figures(seen: _Seen) -> list[Figure]:
    return [*_throughput(seen), *_answers(seen.found), *_kept(seen)]


def _throughput(seen: _Seen) -> list[Figure]:
    """What is answered a second, sustained and under overload."""
    good = [one for one in seen.found if one.status == 200 and one.took_s <= _DEADLINE_S + _LATE_S]
    refused = [one for one in seen.found if one.status == 429]
    goodput = len(good) / SECONDS
    return [
        Figure(
            name=f"sustained by {_CLIENTS} clients",
            measured=seen.rate,
            unit="/s",
            beside={"in process, no HTTP": seen.alone},
        ),
        Figure(
            name=f"goodput at {_TIMES:g} times that, {SECONDS:g} s",
            measured=goodput,
            unit="/s",
            bar=f">= {_GOODPUT:g} of the sustained",
            held=goodput >= _GOODPUT * seen.rate,
            beside={
                "share": goodput / seen.rate,
                "refused": len(refused) / SECONDS,
                "drills": seen.drills,
            },
        ),
    ]


def _answers(found: Sequence[Asked]) -> list[Figure]:
    """How late answers came under overload, and what had none."""
    took = sorted(one.took_s for one in found if one.status == 200)
    told = [one.took_s for one in found if one.status == 429] or [0.0]
    late = sorted(one.late_s for one in found)
    broken = [one for one in found if one.status not in (200, 429, 504)]
    statuses = Counter(one.status for one in found)
    p99 = took[int(0.99 * len(took))]
    return [
        Figure(
            name="answered, p99",
            measured=p99,
            unit="s",
            bar="<= deadline + 50 ms",
            held=p99 <= _DEADLINE_S + _LATE_S,
            beside={
                "p50": statistics.median(took),
                "refusal p50": statistics.median(told),
                "asker's own p99": late[int(0.99 * len(late))],
            },
        ),
        Figure(
            name="neither answered nor refused",
            measured=len(broken),
            unit="",
            bar="0",
            held=not broken,
            beside={f"status {code}": n for code, n in sorted(statuses.items())},
        ),
    ]


def _kept(seen: _Seen) -> list[Figure]:
    """What must stay as it is: queues short, memory bounded, documents there."""
    return [
        Figure(
            name="longest queue of a router",
            measured=max(seen.queued),
            unit="",
            bar=f"<= {_QUEUE}",
            held=max(seen.queued) <= _QUEUE,
        ),
        Figure(
            name="memory at the end",
            measured=seen.memory[-1],
            unit="B",
            bar=f"<= {_GROWTH:g} times that before",
            held=seen.memory[-1] <= _GROWTH * seen.before,
            beside={
                "before": seen.before,
                "after a quarter": seen.memory[len(seen.memory) // 4],
                "after half": seen.memory[len(seen.memory) // 2],
                "most": max(seen.memory),
            },
        ),
        Figure(
            name=f"acknowledged documents lost, of {len(seen.added)}",
            measured=seen.lost,
            unit="",
            bar="0",
            held=seen.lost == 0 and len(seen.added) > 0,
        ),
    ]
