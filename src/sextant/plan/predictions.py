"""Predictions of many runs at once: every row's step time and memory, with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sextant.facts import Facts
from sextant.facts.training import TrainingFacts
from sextant.laws.constants import Constants
from sextant.laws.job import Index, Job, job, take
from sextant.laws.layouts import USABLE_MEMORY
from sextant.laws.memory import held
from sextant.laws.spread import Spread
from sextant.laws.step import step_parts
from sextant.plan.backtest_rows import Question, UnpredictableError, legible, question
from sextant.plan.measured import measured_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What the laws say of one row. Seconds and bytes; `activation_bytes` are those kept."""

    id: str
    step_s: float
    step_s_low: float
    step_s_high: float
    peak_memory_bytes: float
    peak_memory_bytes_low: float
    peak_memory_bytes_high: float
    out_of_memory: bool
    activation_bytes: float
    parameter_optimizer_bytes: float
    layout: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Rows that can be predicted, as one set of columns; a row may leave layouts open.

    `owner[k]` is the row (a place in `rows`) that column k belongs to. The `measured` of `rows`
    holds legible figures alone, and the step time that a stated throughput implies.
    """

    rows: tuple[Mapping[str, Any], ...]
    questions: tuple[Question, ...]
    columns: Job | None
    owner: Index
    unpredictable: Mapping[str, str]


def batch(rows: Sequence[Mapping[str, Any]], facts: Facts, training: TrainingFacts) -> Batch:
    """Rows read into columns; those that no law can take are set apart with the reason."""
    good, questions, refused = [], [], {}
    for name, row in _named(rows):
        if isinstance(row, str):
            refused[name] = row
            continue
        try:
            asked = question(row, facts, training, name=name)
        except UnpredictableError as why:
            refused[name] = legible(why.what)
            continue
        good.append({**row, "measured": measured_of(row, asked)})
        questions.append(asked)
    jobs, owner = [], []
    for place, asked in enumerate(questions):
        for layout in asked.layouts:
            jobs.append(job(asked.shape, layout, asked.accelerator, asked.precision))
            owner.append(place)
    return Batch(
        rows=tuple(good),
        questions=tuple(questions),
        columns=Job.stack(jobs) if jobs else None,
        owner=np.array(owner, dtype=np.int64),
        unpredictable=refused,
    )


def _named(rows: Sequence[object]) -> Iterator[tuple[str, Mapping[str, Any] | str]]:
    """Each row under a name of its own, or why it cannot be read.

    A row is named by its id, else by its place; a second row of the same id is not predicted,
    since predictions are keyed by it.
    """
    taken: dict[str, int] = {}
    for place, row in enumerate(rows, start=1):
        by_place = f"row {place}"
        if not isinstance(row, Mapping):
            yield by_place, "not an object"
            continue
        said = row.get("id")
        name = by_place if said is None or said == "" else legible(said)
        if name in taken:
            yield by_place, f"its id {name!r:.80} is that of row {taken[name]}"
            continue
        taken[name] = place
        yield name, row


def chosen(all_rows: Batch, constants: Constants) -> Index:
    """For each row the column of the fastest layout among those it leaves open, if one fits.

    Else the fastest of those that the low end of the memory's interval lets in (the row ran, it
    may be, where the law errs), else the leanest.
    """
    columns = all_rows.columns
    assert columns is not None
    seconds = step_parts(columns, constants).total
    needs = held(columns, constants).total
    usable = columns.memory * USABLE_MEMORY
    fits, may = needs <= usable, needs / Spread().memory_factor(columns) <= usable
    order = np.lexsort((np.where(may, seconds, needs), ~may, ~fits, all_rows.owner))
    owners = all_rows.owner[order]
    first = np.ones(len(owners), dtype=bool)
    first[1:] = owners[1:] != owners[:-1]
    return order[first].astype(np.int64)


def predict(all_rows: Batch, constants: Constants, spread: Spread) -> list[Prediction]:
    """The predictions of a batch, in its rows' order."""
    if all_rows.columns is None:
        return []
    picked = chosen(all_rows, constants)
    columns = take(all_rows.columns, picked)
    parts, memory = step_parts(columns, constants), held(columns, constants)
    factor = np.broadcast_to(spread.step_factor(parts, columns), picked.shape)
    width = np.broadcast_to(spread.memory_factor(columns), picked.shape)
    step_s, total, states = parts.total, memory.total, memory.states
    found = []
    firsts = np.searchsorted(all_rows.owner, np.arange(len(all_rows.rows)))
    for place, asked in enumerate(all_rows.questions):
        seconds, needs = float(step_s[place]), float(total[place])
        usable = asked.accelerator.memory_bytes * USABLE_MEMORY
        found.append(
            Prediction(
                id=asked.id,
                step_s=seconds,
                step_s_low=seconds / float(factor[place]),
                step_s_high=seconds * float(factor[place]),
                peak_memory_bytes=needs,
                peak_memory_bytes_low=needs / float(width[place]),
                peak_memory_bytes_high=needs * float(width[place]),
                out_of_memory=needs > usable,
                activation_bytes=float(memory.activations[place]),
                parameter_optimizer_bytes=float(states[place]),
                layout=asked.layouts[int(picked[place] - firsts[place])].describe(),
            )
        )
    return found
