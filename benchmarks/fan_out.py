"""Asking N members, and merging what they found: what the fleet itself costs a query."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.bench import Figure
from sextant.fleet import Deadline, Fleet, Gang, Member, MemberSpec
from sextant.search.rows import Row
from sextant.search.searcher import Searcher
from sextant.search.service import shard_specs
from sextant.search.writer import IndexWriter

_ASKS, _WARM = 1500, 100
_SHARDS, _ROWS, _DIMS, _K = 16, 500, 96, 10
_WORK_S, _ABOVE_S = 2e-4, 2.5e-3


class Idle(Member):
    """Answers with nothing."""

    def warm(self) -> None:
        """Has nothing to load."""

    def handle(self, body: bytes, deadline: Deadline) -> bytes:  # noqa: ARG002
        """Answers at once."""
        return b""


class Lean(Member):
    """The least that a shard can do: scan, and answer with the K best."""

    def __init__(self, shard: int) -> None:
        self._first = shard * _ROWS

    def warm(self) -> None:
        """Makes vectors."""
        dice = np.random.default_rng(self._first)
        self._vectors_ND = dice.standard_normal((_ROWS, _DIMS)).astype(np.float32)

    def handle(self, body: bytes, deadline: Deadline) -> bytes:  # noqa: ARG002
        """The scores and rows of the best for a query."""
        scores_N = self._vectors_ND @ np.frombuffer(body, np.float32)
        best_K = scores_N.argpartition(-_K)[-_K:]
        return scores_N[best_K].tobytes() + (best_K + self._first).tobytes()


def run() -> list[Figure]:
    """Members that do nothing, once and twice over; lean shards; then shards of a real index."""
    with Fleet.start() as fleet:
        figures = [_idle(fleet, count, 1) for count in (4, 8, 16)]
        figures += [_idle(fleet, 16, 2), *_lean(fleet)]
        with tempfile.TemporaryDirectory() as folder:
            figures.append(_searched(fleet, Path(folder)))
    return figures


def _idle(fleet: Fleet, count: int, replicas: int) -> Figure:
    """Median and p99 of asking so many members and hearing from all."""
    specs = [MemberSpec(name=f"idle/{n}", factory="benchmarks.fan_out:Idle") for n in range(count)]
    gang = fleet.gang("idle", specs, replicas)
    gang.ready(60)
    for _ in range(_WARM):
        _ask_s(gang)
    times = sorted(_ask_s(gang) for _ in range(_ASKS))
    hedged = gang.tally.hedged / (gang.tally.asks * count)
    gang.close()
    twice = f" of two replicas each, {hedged:.1%} hedged" if replicas > 1 else ""
    return Figure(
        name=f"fan-out of {count}{twice}, p50",
        measured=statistics.median(times),
        unit="s",
        beside={"p99": _p99(times)},
    )


def _ask_s(gang: Gang) -> float:
    start_s = time.perf_counter()
    gather = gang.ask(b"", Deadline.after(1.0))
    assert gather.full, gather.missing
    return time.perf_counter() - start_s


def _lean(fleet: Fleet) -> list[Figure]:
    """Sixteen shards of little work, asked and merged."""
    specs = [
        MemberSpec(name=f"lean/{n}", factory="benchmarks.fan_out:Lean", arguments={"shard": n})
        for n in range(_SHARDS)
    ]
    gang = fleet.gang("lean", specs)
    gang.ready(60)
    queries_QD = np.random.default_rng(5).standard_normal((_ASKS, _DIMS)).astype(np.float32)

    def ask(number: int) -> list[float]:
        gather = gang.ask(queries_QD[number].tobytes(), Deadline.after(1.0))
        assert gather.full, gather.missing
        bodies = [answer.body for answer in gather.answers.values()]
        scores_M = np.concatenate([np.frombuffer(body, np.float32, _K) for body in bodies])
        rows_M = np.concatenate([np.frombuffer(body, np.int64, _K, 4 * _K) for body in bodies])
        assert len(rows_M[np.argsort(-scores_M)[:_K]]) == _K
        return [answer.handle_s for answer in gather.answers.values()]

    work_s, slowest_s, above_s, above_p99_s = _timed(ask)
    gang.close()
    return [
        Figure(
            name=f"work of one of {_SHARDS} lean shards, p50",
            measured=work_s,
            unit="s",
            bar=f"at most {_WORK_S * 1e3} ms, so that the rest is the fleet's",
            held=work_s <= _WORK_S,
            beside={"the slowest's p50": slowest_s},
        ),
        Figure(
            name="fan-out and merge above the slowest, p50",
            measured=above_s,
            unit="s",
            bar=f"at most {_ABOVE_S * 1e3} ms above the slowest shard's own search",
            held=above_s <= _ABOVE_S,
            beside={"p99": above_p99_s},
        ),
    ]


def _searched(fleet: Fleet, folder: Path) -> Figure:
    """The same with shards of an index: what they do takes longer, and the cores are shared."""
    dice = np.random.default_rng(5)
    vectors_ND = dice.standard_normal((_SHARDS * _ROWS, _DIMS)).astype(np.float32)
    with IndexWriter(folder, key="f" * 64, dims=_DIMS, num_shards=_SHARDS, space="s") as writer:
        writer.add([Row(f"d{row}", b"payload") for row in range(len(vectors_ND))], vectors_ND)
        manifest = writer.publish({})
    gang = fleet.gang("shard", shard_specs(folder, manifest))
    gang.ready(120)
    searcher = Searcher(manifest, gang)

    def ask(number: int) -> list[float]:
        query_QD = vectors_ND[number, None]
        found = searcher.search(query_QD, k=_K, deadline=Deadline.after(2.0), space="s")
        assert found.coverage == 1.0, found.missing
        return [shard.handle_s for shard in found.shards]

    work_s, slowest_s, above_s, above_p99_s = _timed(ask)
    gang.close()
    return Figure(
        name=f"the same over {_SHARDS} shards of an index",
        measured=above_s,
        unit="s",
        beside={"p99": above_p99_s, "work of one": work_s, "the slowest's p50": slowest_s},
    )


def _timed(ask: Callable[[int], list[float]]) -> tuple[float, float, float, float]:
    """Medians of one shard's work, of the slowest's, and of what an ask takes beyond it; its p99.

    `ask` makes one whole query, and returns what each shard says that its own search took.
    """
    works, slowest, above = [], [], []
    for number in range(-_WARM, _ASKS):
        start_s = time.perf_counter()
        handled = ask(number)
        took_s = time.perf_counter() - start_s
        if number >= 0:
            works += handled
            slowest.append(max(handled))
            above.append(took_s - max(handled))
    return (
        statistics.median(works),
        statistics.median(slowest),
        statistics.median(above),
        _p99(sorted(above)),
    )


def _p99(ordered: Sequence[float]) -> float:
    return ordered[int(0.99 * len(ordered))]
