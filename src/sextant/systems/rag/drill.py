"""Faults into a serving index: a steady load, what every answer was worth, and the recovery."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sextant.fleet import Drill, Fault, Gang
from sextant.fleet.shot import Shot
from sextant.systems.rag.service import Result, Service, settle_heap

_SETTLE_S = 30.0
_AFTER_S = 0.5
_TRUTH_DEADLINE_S = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One answer of the load: when it was asked in seconds of the drill, and what came back."""

    at_s: float
    latency_s: float
    coverage: float
    expected_recall: float
    recall: float
    """The share of the true top K among its hits."""
    missing: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Drilled:
    """What a drill left: every answer, and what is known of each fault."""

    asked: tuple[Asked, ...]
    shots: tuple[Shot, ...]
    deadline_s: float
    partial: Result | None
    """The first answer with citations that lacked a shard."""


def drill(
    service: Service,
    questions: Sequence[str],
    faults: Sequence[Fault],
    *,
    k: int,
    deadline_s: float,
) -> Drilled:
    """Asks one question after another while the faults fire, until all is well again.

    Questions are embedded and answered in full before the drill, so that each partial answer has
    its truth beside it.

    Raises:
        InputError: a fault names a shard that there is not.
    """
    assert isinstance(service.gang, Gang)
    vectors_QD = service.embed(questions)
    truth = [
        _ids(service.search(vector_D, k=k, deadline_s=_TRUTH_DEADLINE_S)) for vector_D in vectors_QD
    ]
    # The first answer in words opens what vectors do not need; a drill is not the time for it.
    service.ask(questions[0], k=k, deadline_s=_TRUTH_DEADLINE_S)
    settle_heap()
    asked: list[Asked] = []
    partial: list[Result] = []
    with Drill(service.gang, faults) as running:
        begun_s = time.monotonic()

        def ask() -> None:
            number = len(asked) % len(questions)
            at_s = time.monotonic() - begun_s
            start_s = time.perf_counter()
            result = service.search(vectors_QD[number], k=k, deadline_s=deadline_s)
            latency_s = time.perf_counter() - start_s
            asked.append(_asked(result, at_s, latency_s, truth[number]))
            running.step(len(asked))
            if result.coverage < 1.0 and not partial:
                partial.append(service.ask(questions[number], k=k, deadline_s=deadline_s))

        ask()
        running.settle(ask, _SETTLE_S)
        end_s = time.monotonic() + _AFTER_S
        while time.monotonic() < end_s:
            ask()
        return Drilled(
            asked=tuple(asked),
            shots=running.shots,
            deadline_s=deadline_s,
            partial=next(iter(partial), None),
        )


def _asked(result: Result, at_s: float, latency_s: float, truth: frozenset[str]) -> Asked:
    return Asked(
        at_s=at_s,
        latency_s=latency_s,
        coverage=result.coverage,
        expected_recall=result.expected_recall,
        recall=len(_ids(result) & truth) / max(1, len(truth)),
        missing=tuple(one.member for one in result.missing),
    )


def _ids(result: Result) -> frozenset[str]:
    return frozenset(f"{hit.doc}:{hit.start}" for hit in result.hits)
