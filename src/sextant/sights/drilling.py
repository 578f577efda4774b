"""A drill held against what the plan expects of it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise

from sextant.fleet.fault import FaultKind
from sextant.fleet.shot import Shot
from sextant.sights.rehearsal import DrillResult, Expectation, FiredFault, Moment, Recovery
from sextant.systems.rag.drill import Asked, Drilled
from sextant.units import show_seconds

LATE_S = 0.02
"""No answer may come later than its deadline by more than this, at p99."""
_DETECT_S = 1.0
_FULL_AFTER_KILL_S = 20.0
_FULL_AFTER_RESUME_S = 3.0
_COVERAGE_OFF = 0.05
_RECALL_OFF = 0.03
_Z = 1.2816


def judge(drilled: Drilled, num_shards: int) -> DrillResult:
    """What was expected of every fault, what was seen, and whether it held."""
    partial = [one for one in drilled.asked if one.coverage < 1.0]
    expectations = [
        *(_landed(shot) for shot in drilled.shots),
        _in_time(drilled),
        *(_recovered(shot) for shot in drilled.shots),
    ]
    if any(shot.landed and shot.fault.kind is not FaultKind.SLOW for shot in drilled.shots):
        expectations += _partial(partial, num_shards)
    return DrillResult(
        faults=tuple(
            FiredFault(spec=str(s.fault), fired_at_s=s.fired_at_s if s.landed else None)
            for s in drilled.shots
        ),
        recovery=_worst(drilled.shots),
        lost={
            "answers": sum(not one.coverage for one in drilled.asked),
            "partial_answers": len(partial),
            "asked": len(drilled.asked),
            "partial_for_s": _partial_for_s(drilled.asked),
        },
        held=all(e.held for e in expectations),
        expectations=tuple(expectations),
        timeline=tuple(
            Moment(t_s=one.at_s, coverage=one.coverage, latency_s=one.latency_s)
            for one in drilled.asked
        ),
        deadline_s=drilled.deadline_s,
    )


def _landed(shot: Shot) -> Expectation:
    return Expectation(
        what=f"{shot.fault} lands", expected=True, measured=shot.why, held=shot.landed
    )


def _in_time(drilled: Drilled) -> Expectation:
    late = sorted(one.latency_s for one in drilled.asked)
    p99 = late[min(len(late) - 1, int(0.99 * len(late)))]
    most = drilled.deadline_s + LATE_S
    return Expectation(
        what=f"p99 of {len(late)} answers to embedded questions, in seconds, by the deadline + "
        f"{show_seconds(LATE_S)}",
        expected=most,
        measured=p99,
        held=p99 <= most,
    )


def _recovered(shot: Shot) -> Expectation:
    lasts = shot.fault.lasts_s or 0.0
    most = _FULL_AFTER_RESUME_S + lasts if lasts else _FULL_AFTER_KILL_S
    full, detect = shot.recovery.full_s, shot.recovery.detect_s
    held = full is not None and full <= most and detect is not None and detect <= _DETECT_S
    seen = "never full again" if full is None else f"full again after {show_seconds(full)}"
    if detect is not None:
        seen = f"noticed after {show_seconds(detect)}, {seen}"
    return Expectation(
        what=f"{shot.fault} is noticed and healed",
        expected=f"noticed within {show_seconds(_DETECT_S)}, "
        f"full again within {show_seconds(most)}",
        measured=seen,
        held=held,
    )


def _partial(partial: Sequence[Asked], num_shards: int) -> list[Expectation]:
    """Coverage and recall of the answers that lacked a shard."""
    whole = (num_shards - 1) / num_shards
    if not partial:
        what = "partial answers while a shard is away"
        return [Expectation(what=what, expected=True, measured=False, held=False)]
    coverage = statistics.median(one.coverage for one in partial)
    recall = statistics.mean(one.recall for one in partial)
    expected = statistics.mean(one.expected_recall for one in partial)
    spread = statistics.pstdev(one.recall for one in partial)
    off = _RECALL_OFF + _Z * spread / math.sqrt(len(partial))
    return [
        Expectation(
            what=f"coverage without one shard of {num_shards}",
            expected=whole,
            measured=coverage,
            held=abs(coverage - whole) <= _COVERAGE_OFF,
        ),
        Expectation(
            what=f"recall of {len(partial)} partial answers, within {off:.3f} of the expected",
            expected=expected,
            measured=recall,
            held=abs(recall - expected) <= off,
        ),
    ]


def _partial_for_s(asked: Sequence[Asked]) -> float:
    """Seconds of the drill in which answers were partial."""
    total = 0.0
    for one, after in pairwise(asked):
        if one.coverage < 1.0:
            total += after.at_s - one.at_s
    return total


def _worst(shots: Sequence[Shot]) -> Recovery:
    def most(name: str) -> float | None:
        found = [v for s in shots if (v := getattr(s.recovery, name)) is not None]
        return max(found, default=None)

    return Recovery(
        detect_s=most("detect_s"),
        restart_s=most("restart_s"),
        warm_s=most("warm_s"),
        full_s=most("full_s"),
    )
