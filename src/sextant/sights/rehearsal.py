"""What a rehearsal, a drill and a question leave to be shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sextant.plan.quantity import Lean
from sextant.sights.record import Sight


@dataclass(frozen=True, kw_only=True, slots=True)
class Rehearsal:
    """A real run of a plan's shape.

    Attributes:
        workload: the name of what was rehearsed.
        scale: the share of the plan's size that was run.
        fleet: the machines, in words.
        sights: predicted beside measured.
        lean_predicted: of this run, not of the whole plan.
        lean_measured: as the ledger has it.
        record: the file with the record of the run.
        plan_sha256: of the predictions, as they were written before anything ran.
        notes: what a reader must know.
    """

    workload: str
    scale: float
    fleet: str
    sights: tuple[Sight, ...]
    lean_predicted: Lean
    lean_measured: Lean
    record: str
    plan_sha256: str
    notes: tuple[str, ...] = ()

    @property
    def num_inside(self) -> int:
        """How many of the sights lie in their interval."""
        return sum(sight.inside for sight in self.sights)


@dataclass(frozen=True, kw_only=True, slots=True)
class FiredFault:
    """A fault and when it landed, in seconds of the drill; None if it never did."""

    spec: str
    fired_at_s: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Recovery:
    """How long after the fault each state was reached; None where it was not."""

    detect_s: float | None = None
    restart_s: float | None = None
    warm_s: float | None = None
    full_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectation:
    """What the plan expects of a fault, in words, and what was seen."""

    what: str
    expected: str | float | bool
    measured: str | float | bool
    held: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """One answer of the drill: when it was asked, its coverage, and how long it took."""

    t_s: float
    coverage: float
    latency_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class DrillResult:
    """Faults put into a running system, and what became of it."""

    faults: tuple[FiredFault, ...]
    recovery: Recovery
    lost: Mapping[str, object]
    held: bool
    expectations: tuple[Expectation, ...]
    timeline: tuple[Moment, ...] = ()
    deadline_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Citation:
    """A passage that an answer stands on; `start` and `end` are offsets in its document."""

    doc: str
    title: str
    start: int
    end: int
    text: str
    score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class MissingShard:
    """A shard that did not answer, and why."""

    shard: str
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """One question, answered by the system that was rehearsed."""

    question: str
    answer: str
    citations: tuple[Citation, ...]
    coverage: float
    timing: Mapping[str, float] = field(default_factory=dict)
    missing: tuple[MissingShard, ...] = ()
    deadline_s: float | None = None
