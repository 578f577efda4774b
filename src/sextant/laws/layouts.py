"""The search: every layout that a job may have, ranked by step time, with why others fell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from sextant.laws.accelerator import Accelerator
from sextant.laws.constants import Constants
from sextant.laws.job import (
    LOW_PRECISIONS,
    Column,
    Index,
    Job,
    era_columns,
    layout_columns,
    machine_columns,
    shape_columns,
)
from sextant.laws.layout import Layout
from sextant.laws.memory import Held, held
from sextant.laws.mesh import MESH, mesh_rows
from sextant.laws.shape import TransformerShape
from sextant.laws.spread import Spread
from sextant.laws.step import step_parts

RECOMPUTES = ("none", "selective", "full")
USABLE_MEMORY = 0.99
"""Share of the card that a plan may fill; the rest is the driver's. Source: nvidia-smi on an
80 GB card shows 81,559 MiB of 81,920, and rows ran that held 83.9e9 of 85.9e9 bytes."""


UNSURE_COST = 0.05
"""A layout whose memory's interval ends above the card's must be faster by this to be preferred.

Source: assumption; one such layout in ten runs out (the interval is of 80%), which costs a start,
a diagnosis and another layout: half of a day, if ten days are trained."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A layout with its step time, its memory and their 80% intervals."""

    layout: Layout
    step_s: float
    step_low_s: float
    step_high_s: float
    memory_bytes: float
    memory_low_bytes: float
    memory_high_bytes: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """What a search found.

    `best` are the fastest feasible layouts, those that may not fit behind ones that surely do and
    are little slower (`UNSURE_COST`); `pareto` those that nothing beats in both time and
    memory; `rejected` counts layouts by reason; `tightest` is the one nearest to fitting where
    none does, and `shortfall_bytes` what it lacks.
    """

    best: tuple[Candidate, ...]
    pareto: tuple[Candidate, ...]
    considered: int
    feasible: int
    rejected: dict[str, int]
    tightest: Candidate | None
    shortfall_bytes: float

    @property
    def constraint(self) -> str | None:
        """One sentence on what forbids every layout; None if some fit."""
        if self.feasible or self.tightest is None:
            return None if self.feasible else "no layout divides the model and the batch"
        need, short = self.tightest.memory_bytes, self.shortfall_bytes
        return (
            f"memory of one accelerator: the leanest layout ({self.tightest.layout.describe()}) "
            f"needs {need / 1e9:.1f} GB, {short / 1e9:.1f} GB more than there is"
        )


def search_layouts(
    shape: TransformerShape,
    gpus: int,
    accelerator: Accelerator,
    global_batch: int,
    precision: str = "bf16",
    *,
    constants: Constants,
    spread: Spread | None = None,
    recomputes: Sequence[str] = RECOMPUTES,
    zeros: Sequence[int] = (0, 1, 2, 3),
    max_cp: int | None = None,
    keep: int = 10,
) -> Search:
    """Every layout of a job, ranked by step time; vectorised over all of them at once.

    Context parallelism is tried up to a rank for each 8,192 tokens, or `max_cp`; below that a
    piece is too short to hide what it sends.
    Full sharding (ZeRO 3) is tried without a pipeline, since each micro-batch would gather anew.
    Source: `step_parts` and `held`.
    """
    longest = max(1, shape.sequence // 8192) if max_cp is None else max_cp
    mesh, fell = mesh_rows(shape, gpus, accelerator.fast_domain, global_batch, longest)
    if not mesh:
        return _empty(fell)
    stack = searched_stack(accelerator, precision)
    table = _options(np.array(mesh, dtype=np.float64), recomputes, zeros, stack)
    columns = _columns(table, shape, accelerator, global_batch, precision)
    step, memory = step_parts(columns, constants), held(columns, constants)
    usable = accelerator.memory_bytes * USABLE_MEMORY
    found = _Found(
        table=table,
        global_batch=global_batch,
        step_s=step.total,
        step_factor=(spread or Spread()).step_factor(step, columns),
        memory_bytes=memory.total,
        memory_factor=(spread or Spread()).memory_factor(columns) + 0.0 * memory.total,
    )
    for reason, count in _why(memory, usable).items():
        fell[reason] = fell.get(reason, 0) + count
    good = np.flatnonzero(memory.total <= usable)
    order = good[np.argsort(step.total[good], kind="stable")]
    unsure = memory.total * found.memory_factor > usable
    weighed = step.total * (1.0 + UNSURE_COST * unsure)
    ranked = good[np.argsort(weighed[good], kind="stable")]
    leanest = int(np.argmin(memory.total))
    return Search(
        best=tuple(found.candidate(int(i)) for i in ranked[:keep]),
        pareto=tuple(found.candidate(i) for i in _pareto(order, memory.total)),
        considered=len(memory.total),
        feasible=len(good),
        rejected=fell,
        tightest=found.candidate(leanest),
        shortfall_bytes=max(0.0, float(memory.total[leanest] - usable)),
    )


def _empty(fell: dict[str, int]) -> Search:
    return Search(
        best=(),
        pareto=(),
        considered=0,
        feasible=0,
        rejected=fell,
        tightest=None,
        shortfall_bytes=0.0,
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, repr=False)
class _Table:
    mesh: Column
    recompute: Column
    zero: Column
    names: tuple[str, ...]
    stack: str


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, repr=False)
class _Found:
    table: _Table
    global_batch: int
    step_s: Column
    step_factor: Column
    memory_bytes: Column
    memory_factor: Column

    def candidate(self, i: int) -> Candidate:
        seconds, by = float(self.step_s[i]), float(self.step_factor[i])
        needs, wide = float(self.memory_bytes[i]), float(self.memory_factor[i])
        return Candidate(
            layout=_layout(self.table, i, self.global_batch),
            step_s=seconds,
            step_low_s=seconds / by,
            step_high_s=seconds * by,
            memory_bytes=needs,
            memory_low_bytes=needs / wide,
            memory_high_bytes=needs * wide,
        )


def searched_stack(accelerator: Accelerator, precision: str) -> str:
    """The software of every layout of a search: alternatives differ in layout, not in kernels.

    PyTorch's own stack, compiled, which is anybody's; in fp8 and fp4, and on Blackwell and later,
    the chip's maker's.
    Source: as `stack_of`.
    """
    return "vendor" if precision in LOW_PRECISIONS or accelerator.kernels.recent else "native"


def _options(mesh: Column, recomputes: Sequence[str], zeros: Sequence[int], stack: str) -> _Table:
    parts, kinds, levels = [], [], []
    for kind, _ in enumerate(recomputes):
        for zero in zeros:
            several = mesh[:, 2] * mesh[:, 3] > 1.0
            flat = mesh[:, 1] == 1.0
            rows = mesh[(zero < 2) | (several & (flat | (zero < 3)))]
            parts.append(rows)
            kinds.append(np.full(len(rows), float(kind)))
            levels.append(np.full(len(rows), float(zero)))
    return _Table(
        mesh=np.concatenate(parts),
        recompute=np.concatenate(kinds),
        zero=np.concatenate(levels),
        names=tuple(recomputes),
        stack=stack,
    )


def _columns(
    table: _Table,
    shape: TransformerShape,
    accelerator: Accelerator,
    global_batch: int,
    precision: str,
) -> Job:
    scalars: dict[str, float] = {
        **shape_columns(shape),
        **layout_columns(Layout(global_batch=global_batch)),
        **machine_columns(accelerator, precision),
    }
    columns: dict[str, Column] = {k: np.asarray(v, dtype=np.float64) for k, v in scalars.items()}
    columns |= {name: table.mesh[:, i] for i, name in enumerate(MESH)}
    columns["zero"] = table.zero
    columns["sequence_parallel"] = np.where(columns["tp"] > 1, 1.0, 0.0)
    for name in ("selective", "full"):
        chosen = [float(said == name) for said in table.names]
        columns[name] = np.array(chosen)[table.recompute.astype(int)]
    columns |= {k: np.asarray(v) for k, v in era_columns(table.stack, accelerator).items()}
    columns["compiled"] = np.asarray(float(table.stack == "native"))
    columns["doubtful"] = np.asarray(0.0)
    return Job(**{f.name: columns[f.name] for f in fields(Job)})


def _layout(table: _Table, i: int, global_batch: int) -> Layout:
    tp, pp, dp, cp, ep, interleave, micro_batch = (int(n) for n in table.mesh[i])
    return Layout(
        tp=tp,
        pp=pp,
        dp=dp,
        cp=cp,
        ep=ep,
        interleave=interleave,
        micro_batch=micro_batch,
        global_batch=global_batch,
        zero=int(table.zero[i]),
        recompute=table.names[int(table.recompute[i])],
        sequence_parallel=tp > 1,
        stack=table.stack,
        compiled=table.stack == "native",
    )


def _why(memory: Held, usable: float) -> dict[str, int]:
    states = memory.parameters + memory.gradients + memory.optimizer
    over = memory.total > usable
    by_states = int(np.count_nonzero(over & (states > usable)))
    others = int(np.count_nonzero(over)) - by_states
    counts = {
        "weights, gradients and optimizer alone exceed the memory": by_states,
        "activations do not fit beside the weights": others,
    }
    return {reason: n for reason, n in counts.items() if n}


def _pareto(order: Index, memory: Column) -> list[int]:
    """Indices, fastest first, each leaner than all faster ones."""
    if not len(order):
        return []
    needs = memory[order]
    leanest = np.minimum.accumulate(needs)
    keep = np.concatenate(([True], needs[1:] < leanest[:-1]))
    return [int(i) for i in order[keep]]
