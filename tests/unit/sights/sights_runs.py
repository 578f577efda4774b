# ruff: noqa: E501
"""A rehearsal, a drill and an answer, as a system would leave them."""

from __future__ import annotations

import math

from sextant.axes import Axis
from sextant.plan.quantity import Lean
from sextant.sights.record import Prediction, Sight, plan_sha256
from sextant.sights.rehearsal import (
    Answers,
    Citation,
    DrillResult,
    Expectation,
    FiredFault,
    MissingShard,
    Moment,
    Recovery,
    Rehearsal,
)

PREDICTIONS = tuple(
    Prediction(quantity=name, predicted=value, low=value / spread, high=value * spread, unit=unit)
    for name, value, spread, unit in (
        ("index_bytes", 66.8e6, 1.06, "B"),
        ("num_shards", 8.0, 1.0, ""),
        ("embed_s", 11.2e-3, 1.5, "s"),
        ("shard_search_p50_s", 0.41e-3, 1.5, "s"),
        ("fan_out_p99_s", 3.9e-3, 1.55, "s"),
        ("merge_s", 0.09e-3, 1.5, "s"),
        ("query_p99_s", 18.7e-3, 1.5, "s"),
        ("queries_per_s", 341.0, 1.4, "/s"),
        ("corpus_embed_s", 96.0, 1.3, "s"),
        ("recall_lost_per_shard", 0.125, 1.1, "fraction"),
    )
)
MEASURED = {
    "index_bytes": 67.4e6, "num_shards": 8.0, "embed_s": 12.9e-3, "shard_search_p50_s": 0.47e-3,
    "fan_out_p99_s": 3.1e-3, "merge_s": 0.16e-3, "query_p99_s": 19.9e-3, "queries_per_s": 305.0,
    "corpus_embed_s": 91.0, "recall_lost_per_shard": 0.121,
}  # fmt: skip


def rehearsal() -> Rehearsal:
    """Ten sights, one of them outside its interval."""
    return Rehearsal(
        workload="web-scale-rag",
        scale=4.36e-6,
        fleet="1 machine of 2 cores (a local fleet of 10 processes)",
        sights=tuple(
            Sight(
                quantity=p.quantity, predicted=p.predicted, low=p.low, high=p.high,
                measured=MEASURED[p.quantity], unit=p.unit,
            )
            for p in PREDICTIONS
        ),
        lean_predicted=Lean(
            busy={Axis.DATA: 0.31, Axis.INFERENCE: 0.62, Axis.COORDINATION: 0.07},
            waiting={Axis.COORDINATION: 0.9, Axis.INFERENCE: 0.1},
        ),
        lean_measured=Lean(
            busy={Axis.DATA: 0.27, Axis.INFERENCE: 0.65, Axis.COORDINATION: 0.08},
            waiting={Axis.COORDINATION: 0.94, Axis.INFERENCE: 0.06},
        ),
        record="demo/runs.jsonl",
        plan_sha256=plan_sha256(PREDICTIONS),
        notes=("The answer is extractive here; the plan's answerer is not run.",),
    )  # fmt: skip


def drill() -> DrillResult:
    """A shard stopped at two seconds and back at seven."""
    moments = []
    for index in range(600):
        t_s = index / 50
        stopped = 2.0 <= t_s < 7.1
        before_known = 2.0 <= t_s < 2.6
        latency_s = 0.0165 + 0.003 * math.sin(index * 1.7) + (0.032 if before_known else 0.0)
        moments.append(Moment(t_s=t_s, coverage=0.875 if stopped else 1.0, latency_s=latency_s))
    return DrillResult(
        faults=(FiredFault(spec="stop:shard/3@2s", fired_at_s=2.003),),
        recovery=Recovery(detect_s=0.58, restart_s=3.9, warm_s=4.8, full_s=5.1),
        lost={"shards": ["shard/3"], "queries_late": 0, "recall": 0.121},
        held=False,
        expectations=(
            Expectation(what="no answer later than deadline + 20 ms at p99", expected="70 ms", measured="51.6 ms", held=True),
            Expectation(what="coverage while the shard is stopped", expected=0.875, measured=0.875, held=True),
            Expectation(what="expected recall within 0.03 of measured", expected=0.875, measured=0.879, held=True),
            Expectation(what="the stop is seen", expected="500 ms", measured="580 ms", held=False),
        ),
        timeline=tuple(moments),
        deadline_s=0.05,
    )  # fmt: skip


def answers() -> Answers:
    """A question about the standard library, one shard missing."""
    return Answers(
        question="How do I run a subprocess with a timeout?",
        answer=(
            "Pass timeout to subprocess.run: if the child does not end in time it is killed, "
            "waited for, and TimeoutExpired is raised [1]. With Popen, call communicate(timeout=...) "
            "and kill the process yourself when it raises [2]."
        ),
        citations=(
            Citation(doc="subprocess", title="subprocess.run", start=1204, end=1571, text="If the timeout expires, the child process will be killed and waited for. The TimeoutExpired exception will be re-raised after the child process has terminated.", score=0.71),
            Citation(doc="subprocess", title="Popen.communicate", start=8210, end=8702, text="The child process is not killed if the timeout expires, so in order to cleanup properly a well-behaved application should kill the child process and finish communication.", score=0.66),
        ),
        coverage=0.875,
        timing={"embed_s": 0.0118, "fan_out_s": 0.0502, "merge_s": 0.0001, "extract_s": 0.0043},
        missing=(MissingShard(shard="shard/3", why="deadline"),),
        deadline_s=0.1,
    )  # fmt: skip
