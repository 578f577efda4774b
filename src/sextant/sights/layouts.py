"""The layouts of a training job as a plan holds them: the best, runners-up, the front, the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sextant.plan.quantity import Plan
from sextant.units import show, show_seconds

HEADING = "Layouts"
FRONT = "● on the Pareto front: nothing is both faster and leaner."


@dataclass(frozen=True, kw_only=True, slots=True)
class LayoutRow:
    """One layout. Seconds a step and bytes a GPU, each with its 80% interval."""

    role: str
    layout: str
    on_front: bool
    step_s: float
    step_low_s: float
    step_high_s: float
    memory_bytes: float
    memory_low_bytes: float
    memory_high_bytes: float

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """What a table shows: role, step, memory, layout."""
        role = f"{self.role} ●" if self.on_front else self.role
        return role, show_seconds(self.step_s), show(self.memory_bytes, "B"), self.layout


@dataclass(frozen=True, kw_only=True, slots=True)
class Layouts:
    """What a search among layouts came to; `rows` are fastest first, `usable_bytes` of one GPU."""

    rows: tuple[LayoutRow, ...]
    considered: int
    feasible: int
    rejected: Mapping[str, int]
    usable_bytes: float

    @property
    def front(self) -> tuple[LayoutRow, ...]:
        """The rows that nothing beats in both time and memory, fastest first."""
        return tuple(row for row in self.rows if row.on_front)

    def shown(self, most: int) -> tuple[LayoutRow, ...]:
        """At most so many rows: the fastest, and the leanest of all."""
        return self.rows if len(self.rows) <= most else (*self.rows[: most - 1], self.rows[-1])

    @property
    def heading(self) -> str:
        """The heading, with how many fit."""
        return f"{HEADING}: {self.feasible:,} of {self.considered:,} fit"

    @property
    def why_rejected(self) -> str:
        """One sentence on why the others fell, the commonest reason first."""
        ranked = sorted(self.rejected.items(), key=lambda pair: -pair[1])
        return "Rejected: " + ("; ".join(f"{n:,}: {why}" for why, n in ranked) or "none") + "."


def layouts_of(plan: Plan) -> Layouts | None:
    """The layouts that a plan of a training job weighed; None for other plans."""
    part = plan.layout.get("pretraining")
    if not isinstance(part, Mapping) or "pareto" not in part:
        return None
    front = {str(row["layout"]): row for row in part["pareto"]}
    second = {str(row["layout"]): row for row in part["runners_up"]}
    # Runners-up are the next fastest, so that they end before the rest of the front goes on.
    every = sorted((front | second).items(), key=lambda pair: float(pair[1]["step_s"]))
    fastest = str(every[0][0]) if every else ""
    picked = str(part.get("chosen", fastest))
    rows = [_row(row, _role(name, picked, second)) for name, row in every]
    return Layouts(
        rows=tuple(rows),
        considered=int(part["considered"]),
        feasible=int(part["feasible"]),
        rejected=dict(part["rejected"]),
        usable_bytes=float(part["usable_memory_bytes"]),
    )


def _role(name: str, picked: str, second: Mapping[str, object]) -> str:
    if name == picked:
        return "best"
    return "runner-up" if name in second else "leaner"


def _row(row: Mapping[str, float | str], role: str) -> LayoutRow:
    return LayoutRow(
        role=role,
        layout=str(row["layout"]),
        on_front=bool(row["on_front"]),
        step_s=float(row["step_s"]),
        step_low_s=float(row["step_low_s"]),
        step_high_s=float(row["step_high_s"]),
        memory_bytes=float(row["memory_bytes"]),
        memory_low_bytes=float(row["memory_low_bytes"]),
        memory_high_bytes=float(row["memory_high_bytes"]),
    )
