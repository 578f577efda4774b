"""Fitting the few constants of the training laws to measured runs, and the error held back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sextant.facts.training import TrainingFacts
from sextant.laws.constants import Constants
from sextant.laws.job import Column, Index, take
from sextant.laws.memory import held
from sextant.laws.step import step_parts
from sextant.plan.predictions import Batch, chosen

MACHINE_CONSTANTS = (
    "matmul_share",
    "stream_share",
    "fast_share",
    "network_share",
    "gather_leak",
    "straggler",
    "step_s",
    "runtime_bytes",
    "fragmentation",
)
"""What a machine, its cluster and its software change; the other constants are of nature."""

NOISE = 0.05
"""Relative error that even a perfect law would leave: run to run, and what rows do not state."""
SOURCE_WEIGHT = 25.0
"""Rows of one source count as at most so many: they share their machine and their habits."""
ROUNDS = 12
NUDGE = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """Fitted constants, how far each moved from its prior (in its spreads), and the errors."""

    constants: Constants
    moved: Mapping[str, float]
    rows: int
    mean_error: float
    held_back_error: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """Measured rows of a batch, each with its weight; a row without a figure has nan there."""

    batch: Batch
    step_s: Column
    memory_bytes: Column
    weight: Column


def evidence(batch: Batch) -> Evidence:
    """The measured figures of a batch, weighted so that no source outvotes the others."""
    sources = [source_of(row) for row in batch.rows]
    counts = {name: sources.count(name) for name in sources}
    return Evidence(
        batch=batch,
        step_s=_figures(batch, "step_s"),
        memory_bytes=_figures(batch, "peak_memory_bytes"),
        weight=np.array([min(1.0, SOURCE_WEIGHT / counts[s]) ** 0.5 for s in sources]),
    )


def source_of(row: Mapping[str, Any]) -> str:
    """The document a row is from: what stands before the first comma of its source."""
    return str(row.get("source", row.get("case", "?"))).split(",")[0]


def _figures(batch: Batch, key: str) -> Column:
    found = [row["measured"].get(key) for row in batch.rows]
    return np.array([np.nan if v is None or isinstance(v, bool) else float(v) for v in found])


def fit(
    known: Evidence,
    training: TrainingFacts,
    *,
    names: Sequence[str],
    use: Column | None = None,
    start: str = "prior",
) -> Constants:
    """The constants that explain the rows best and stay near their priors.

    Maximum a posteriori: squares of log errors over `NOISE` (large ones count linearly), plus
    squares of each constant's log distance from its prior over its spread; Gauss-Newton.
    `start` is where they start and are drawn to: the benchmarks' `prior`, or the `value` that
    ships, for a machine of one's own. Constants not named stay there.
    """
    rows = training.constant
    prior = Constants(**{name: float(row[start]) for name, row in rows.items()})
    chosen_names = list(names)
    centre = np.log([getattr(prior, name) for name in chosen_names])
    spread = np.log([float(rows[name]["spread"]) for name in chosen_names])
    mask = np.ones(len(known.batch.rows), dtype=bool) if use is None else use

    def constants(x: Column) -> Constants:
        values = np.exp(centre + x * spread)
        return replace(prior, **dict(zip(chosen_names, map(float, values), strict=True)))

    x = np.zeros(len(chosen_names))
    if known.batch.columns is None or not mask.any():
        return constants(x)
    for _ in range(ROUNDS):
        x, step = _round(x, known, mask, constants)
        if step < 1e-3:
            break
    return constants(x)


def _round(x: Column, known: Evidence, mask: Column, constants: Any) -> tuple[Column, float]:
    """One Gauss-Newton step with rows re-weighted for robustness; returns it and its length."""
    picked = chosen(known.batch, constants(x))

    def errors(at: Column) -> Column:
        return _errors(known, constants(at), picked, mask)

    base = errors(x)
    weight = 1.0 / np.sqrt(np.sqrt(1.0 + base**2))
    columns = [(errors(x + NUDGE * unit) - base) / NUDGE for unit in np.eye(len(x))]
    slope = np.stack(columns, axis=1) * weight[:, None]
    normal = slope.T @ slope + np.eye(len(x))
    step = -np.linalg.solve(normal, slope.T @ (base * weight) + x)
    step = np.clip(step, -1.0, 1.0)
    return x + step, float(np.abs(step).max())


def _errors(known: Evidence, constants: Constants, picked: Index, mask: Column) -> Column:
    assert known.batch.columns is not None
    columns = take(known.batch.columns, picked)
    times = np.log(step_parts(columns, constants).total / known.step_s)
    sizes = np.log(held(columns, constants).total / known.memory_bytes)
    found = [(error * known.weight / NOISE)[mask & ~np.isnan(error)] for error in (times, sizes)]
    return np.concatenate(found)


def mean_error(known: Evidence, constants: Constants, use: Column) -> float:
    """Mean relative error of step time over rows; nan if none states it."""
    assert known.batch.columns is not None
    columns = take(known.batch.columns, chosen(known.batch, constants))
    off = np.abs(step_parts(columns, constants).total / known.step_s - 1.0)
    rows = use & ~np.isnan(known.step_s)
    return float(np.mean(off[rows])) if rows.any() else float("nan")


def calibrate(
    batch: Batch,
    training: TrainingFacts,
    *,
    names: Sequence[str] = MACHINE_CONSTANTS,
    start: str = "value",
) -> Fit:
    """Fit constants to all rows, and say the error on rows held back (five folds)."""
    known = evidence(batch)
    everything = np.ones(len(batch.rows), dtype=bool)
    best = fit(known, training, names=names, start=start)
    timed = np.flatnonzero(~np.isnan(known.step_s))
    folds = min(5, len(timed))
    held_back = []
    for fold in range(folds if folds > 1 else 0):
        out = np.zeros(len(batch.rows), dtype=bool)
        out[timed[fold::folds]] = True
        held_back.append(
            mean_error(known, fit(known, training, names=names, use=~out, start=start), out)
        )
    prior = training.constant
    moved = {
        name: float(
            np.log(getattr(best, name) / float(prior[name][start]))
            / np.log(float(prior[name]["spread"]))
        )
        for name in names
    }
    return Fit(
        constants=best,
        moved=moved,
        rows=len(timed),
        mean_error=mean_error(known, best, everything),
        held_back_error=float(np.mean(held_back)) if held_back else None,
    )


def leave_one_source_out(batch: Batch, training: TrainingFacts) -> dict[str, Constants]:
    """For each source the constants fitted on all the others."""
    known = evidence(batch)
    names = list(training.constant)
    sources = np.array([source_of(row) for row in batch.rows])
    return {
        str(name): fit(known, training, names=names, use=sources != name)
        for name in dict.fromkeys(sources.tolist())
    }
