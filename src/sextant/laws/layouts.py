"""The search: every layout that a job may have, ranked by step time, with why others fell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from sextant.laws.accelerator import Accelerator
from sextant.laws.constants import Constants
from sextant.laws.job import Column, Job, era_columns, layout_columns, machine_columns, shape_columns
from sextant.laws.layout import Layout
from sextant.laws.memory import Held, held
from sextant.laws.shape import TransformerShape
from sextant.laws.spread import Spread
from sextant.laws.step import step_parts

MICRO_BATCHES = (1, 2, 4, 8, 16)
INTERLEAVES = (1, 2, 3, 4, 5, 6, 8)
RECOMPUTES = ("none", "selective", "full")
USABLE_MEMORY = 0.98
"""Share of the card that a plan may fill; the rest is the driver's. Source: nvidia-smi on an
80 GB card shows 81,559 MiB of 81,920."""


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

    `best` are the fastest feasible layouts; `pareto` those that nothing beats in both time and
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


def divisors(n: int) -> list[int]:
    """All divisors, ascending."""
    small = [d for d in range(1, int(n**0.5) + 1) if n % d == 0]
    return sorted({*small, *(n // d for d in small)})


def mesh_rows(
    shape: TransformerShape, gpus: int, fast_domain: int, global_batch: int, max_cp: int
) -> tuple[list[tuple[int, ...]], dict[str, int]]:
    """All (tp, pp, dp, cp, ep, interleave, micro_batch) that divide as they must.

    Tensor groups stay in one fast domain and divide the heads; stages and virtual stages divide
    the layers' count (the last may be short); data and micro-batch divide the batch; experts
    divide over the ranks of a stage.
    """
    rows: list[tuple[int, ...]] = []
    fell: dict[str, int] = {}
    for tp in (d for d in divisors(gpus) if d <= fast_domain):
        if shape.heads % tp:
            fell["tensor degree does not divide the heads"] = (
                fell.get("tensor degree does not divide the heads", 0) + 1
            )
            continue
        for cp in (c for c in divisors(gpus // tp) if c <= max_cp):
            for pp in divisors(gpus // tp // cp):
                if pp > shape.layers:
                    continue
                dp = gpus // (tp * cp * pp)
                if global_batch % dp:
                    reason = "data degree does not divide the global batch"
                    fell[reason] = fell.get(reason, 0) + 1
                    continue
                rows.extend(_inner(shape, tp, pp, dp, cp, global_batch))
    return rows, fell


def _inner(
    shape: TransformerShape, tp: int, pp: int, dp: int, cp: int, batch: int
) -> list[tuple[int, ...]]:
    experts = [1]
    if shape.experts:
        experts = [e for e in divisors(shape.experts) if (tp * dp * cp) % e == 0]
    micro = [b for b in MICRO_BATCHES if (batch // dp) % b == 0]
    even = -(-shape.layers // pp)
    chunks = [1]
    if pp > 1:
        chunks = [v for v in INTERLEAVES if even % v == 0]
    return [
        (tp, pp, dp, cp, ep, v, b)
        for ep in experts
        for v in chunks
        for b in micro
        if v == 1 or (batch // dp // b) % pp == 0
    ]


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
    zeros: Sequence[int] = (1, 3),
    max_cp: int | None = None,
    keep: int = 10,
) -> Search:
    """Every layout of a job, ranked by step time; vectorised over all of them at once.

    Full sharding (ZeRO 2 and 3) is tried without a pipeline, since each micro-batch would gather
    anew. Source: `step_parts` and `held`.
    """
    longest = max(1, shape.sequence // 8192) if max_cp is None else max_cp
    domain = accelerator.fast_domain
    mesh, fell = mesh_rows(shape, gpus, domain, global_batch, longest)
    if not mesh:
        return _empty(fell)
    table = _options(np.array(mesh, dtype=np.float64), recomputes, zeros)
    columns = _columns(table, shape, accelerator, global_batch, precision)
    step = step_parts(columns, constants)
    total = step.total
    factor = (spread or Spread()).step_factor(step)
    memory = held(columns, constants)
    width = 1.0 + (spread or Spread()).memory
    usable = accelerator.memory_bytes * USABLE_MEMORY
    fits = memory.total <= usable
    for reason, count in _why(memory, usable).items():
        fell[reason] = fell.get(reason, 0) + count

    def candidate(i: int) -> Candidate:
        need = float(memory.total[i])
        return Candidate(
            layout=_layout(table, i, global_batch),
            step_s=float(total[i]),
            step_low_s=float(total[i] / factor[i]),
            step_high_s=float(total[i] * factor[i]),
            memory_bytes=need,
            memory_low_bytes=need / width,
            memory_high_bytes=need * width,
        )

    good = np.flatnonzero(fits)
    leanest = int(np.argmin(memory.total))
    order = good[np.argsort(total[good], kind="stable")]
    return Search(
        best=tuple(candidate(int(i)) for i in order[:keep]),
        pareto=tuple(candidate(i) for i in _pareto(order, memory.total)),
        considered=int(total.size),
        feasible=int(good.size),
        rejected=fell,
        tightest=candidate(leanest),
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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Table:
    mesh: Column
    recompute: Column
    zero: Column
    names: tuple[str, ...]


def _options(mesh: Column, recomputes: Sequence[str], zeros: Sequence[int]) -> _Table:
    parts, kinds, levels = [], [], []
    for kind, _ in enumerate(recomputes):
        for zero in zeros:
            rows = mesh if zero < 2 else mesh[(mesh[:, 1] == 1.0) & (mesh[:, 2] * mesh[:, 3] > 1.0)]
            parts.append(rows)
            kinds.append(np.full(len(rows), float(kind)))
            levels.append(np.full(len(rows), float(zero)))
    return _Table(
        mesh=np.concatenate(parts),
        recompute=np.concatenate(kinds),
        zero=np.concatenate(levels),
        names=tuple(recomputes),
    )


MESH = ("tp", "pp", "dp", "cp", "ep", "interleave", "micro_batch")


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
    plain = era_columns(shape, Layout(zero=1, tp=2), accelerator, precision)
    sharded = era_columns(shape, Layout(zero=3), accelerator, precision)
    native = table.zero >= 2
    columns["compiled"] = np.where(native, 1.0, 0.0)
    columns |= {name: np.where(native, sharded[name], plain[name]) for name in plain}
    return Job(**{f.name: columns[f.name] for f in fields(Job)})


def _layout(table: _Table, i: int, global_batch: int) -> Layout:
    degrees = {name: int(table.mesh[i, k]) for k, name in enumerate(MESH)}
    return Layout(
        **degrees,
        global_batch=global_batch,
        zero=int(table.zero[i]),
        recompute=table.names[int(table.recompute[i])],
        sequence_parallel=degrees["tp"] > 1,
        compiled=bool(table.zero[i] >= 2),
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


def _pareto(order: Column, memory: Column) -> list[int]:
    """Indices, fastest first, each leaner than all faster ones."""
    if not len(order):
        return []
    needs = memory[order]
    leanest = np.minimum.accumulate(needs)
    keep = np.concatenate(([True], needs[1:] < leanest[:-1]))
    return [int(i) for i in order[keep]]
