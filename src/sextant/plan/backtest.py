"""Scores of predictions against measured runs, case by case."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sextant.facts import Facts
from sextant.facts.training import TrainingFacts
from sextant.laws.constants import Constants
from sextant.laws.job import Column
from sextant.laws.spread import Spread
from sextant.plan.backtest_rows import Question, legible
from sextant.plan.predictions import Batch, Prediction, batch, predict

FIELDS = (
    "step_s",
    "step_s_low",
    "step_s_high",
    "peak_memory_bytes",
    "peak_memory_bytes_low",
    "peak_memory_bytes_high",
    "out_of_memory",
    "activation_bytes",
    "parameter_optimizer_bytes",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseScore:
    """How good the predictions of one table are; None where a figure does not apply.

    `interval_coverage` is of step times, `memory_interval_coverage` of peaks of memory.
    `baseline_error` is of the best single FLOP/s per GPU fitted on the answers. `regret` is the
    mean over choice sets of the picked layout's measured time over the best one's, minus one.
    """

    case: str
    n: int
    mean_error: float | None
    bias: float | None
    baseline_error: float | None
    rank_correlation: float | None
    regret: float | None
    oom_precision: float | None
    oom_recall: float | None
    interval_coverage: float | None
    memory_mean_error: float | None
    memory_interval_coverage: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Scores by case, rows with what was predicted and measured, and rows left out."""

    cases: tuple[CaseScore, ...]
    rows: tuple[dict[str, Any], ...]
    unpredictable: Mapping[str, str]
    predictions: Mapping[str, dict[str, Any]]
    """Of every row that could be predicted, by id."""

    def as_json(self) -> dict[str, Any]:
        """The report as `sextant backtest --json` prints it."""
        return {
            "cases": [asdict(score) for score in self.cases],
            "rows": list(self.rows),
            "unpredictable": [
                {"id": name, "reason": why} for name, why in self.unpredictable.items()
            ],
        }


def backtest(
    rows: Sequence[Mapping[str, Any]],
    facts: Facts,
    training: TrainingFacts,
    constants: Constants,
    spread: Spread,
) -> Report:
    """Predict every row, and score those that were measured."""
    asked = batch(rows, facts, training)
    return report(asked, predict(asked, constants, spread))


def report(asked: Batch, predictions: Sequence[Prediction]) -> Report:
    """The scores of predictions that are made already, in the batch's order."""
    said = [{name: getattr(p, name) for name in FIELDS} for p in predictions]
    by_case: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(asked.rows):
        if row["measured"]:
            by_case[legible(row.get("case", "all"))].append(place)
    shown = [
        {
            "id": p.id,
            "case": legible(row.get("case", "all")),
            "predicted": {**values, "layout": p.layout},
            "measured": dict(row["measured"]),
        }
        for row, p, values in zip(asked.rows, predictions, said, strict=True)
    ]
    return Report(
        cases=tuple(_score(case, asked, predictions, at) for case, at in by_case.items()),
        rows=tuple(shown),
        unpredictable=asked.unpredictable,
        predictions={p.id: values for p, values in zip(predictions, said, strict=True)},
    )


def _score(case: str, asked: Batch, made: Sequence[Prediction], at: Sequence[int]) -> CaseScore:
    timed = [i for i in at if _measured(asked, i, "step_s") is not None]
    said = np.array([made[i].step_s for i in timed])
    seen = np.array([_measured(asked, i, "step_s") or math.nan for i in timed])
    off = said / seen - 1.0 if timed else said
    low = np.array([made[i].step_s_low for i in timed])
    high = np.array([made[i].step_s_high for i in timed])
    precision, recall = out_of_memory_scores(asked, made, at)
    return CaseScore(
        case=case,
        n=len(at),
        mean_error=_mean(np.abs(off)),
        bias=_mean(off),
        baseline_error=baseline_error([asked.questions[i] for i in timed], seen),
        rank_correlation=spearman(said, seen),
        regret=regret(asked, made, at),
        oom_precision=precision,
        oom_recall=recall,
        interval_coverage=_mean(((low <= seen) & (seen <= high)).astype(np.float64)),
        memory_mean_error=_mean(np.abs(memory_errors(asked, made, at))),
        memory_interval_coverage=_memory_coverage(asked, made, at),
    )


def _measured(asked: Batch, place: int, key: str) -> float | None:
    value: object = asked.rows[place]["measured"].get(key)
    return None if isinstance(value, bool) or not isinstance(value, (int, float)) else float(value)


def _mean(values: Column) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _memory_coverage(asked: Batch, made: Sequence[Prediction], at: Sequence[int]) -> float | None:
    """Share of the measured peaks of memory inside their intervals."""
    inside = [
        float(made[i].peak_memory_bytes_low <= seen <= made[i].peak_memory_bytes_high)
        for i in at
        if (seen := _measured(asked, i, "peak_memory_bytes")) is not None
    ]
    return _mean(np.array(inside))


def memory_errors(asked: Batch, made: Sequence[Prediction], at: Sequence[int]) -> Column:
    """Relative errors of every memory figure that is measured: the peak, or its parts."""
    keys = ("peak_memory_bytes", "activation_bytes", "parameter_optimizer_bytes")
    found = [
        getattr(made[i], key) / seen - 1.0
        for i in at
        for key in keys
        if (seen := _measured(asked, i, key)) is not None
    ]
    return np.array(found, dtype=np.float64)


def out_of_memory_scores(
    asked: Batch, made: Sequence[Prediction], at: Sequence[int]
) -> tuple[float | None, float | None]:
    """Precision and recall of layouts said not to fit, among rows known to have run or not."""
    known = [
        i
        for i in at
        if asked.rows[i]["measured"].get("out_of_memory") is True
        or _measured(asked, i, "step_s") is not None
    ]
    truth = [asked.rows[i]["measured"].get("out_of_memory") is True for i in known]
    said = [made[i].out_of_memory for i in known]
    hits = sum(t and s for t, s in zip(truth, said, strict=True))
    precision = hits / sum(said) if sum(said) and any(truth) else None
    return precision, hits / sum(truth) if any(truth) else None


def baseline_error(questions: Sequence[Question], seen: Column) -> float | None:
    """Mean error of the best single FLOP/s per GPU, chosen with the answers in sight.

    Of two counts (model FLOPs, and with recompute) the one that does better.
    """
    if len(questions) < 2:
        return None
    work = np.array([_flops_per_gpu(q) for q in questions])
    full = np.array([q.layouts[0].recompute == "full" for q in questions])
    both = (work, work * np.where(full, 4.0 / 3.0, 1.0))
    return min(_best_constant_error(flops / seen) for flops in both)


def _best_constant_error(rates: Column) -> float:
    """The least mean of `|rate / c - 1|` over all constants c.

    With x = 1/c it is a sum of `rate |x - 1/rate|`, so least where x is the median of `1 / rate`
    weighted by the rates: c is the rate that half of the sum of rates lies below.
    """
    ascending = np.sort(rates)
    half = np.searchsorted(np.cumsum(ascending), ascending.sum() / 2.0)
    best = ascending[min(int(half), len(ascending) - 1)]
    return float(np.mean(np.abs(rates / best - 1.0)))


def _flops_per_gpu(asked: Question) -> float:
    layout = asked.layouts[0]
    tokens = asked.shape.sequence * layout.global_batch
    return asked.shape.flops_per_token() * tokens / layout.gpus


def spearman(a: Column, b: Column) -> float | None:
    """Rank correlation, ties sharing their mean rank; None below three rows."""
    if len(a) < 3 or np.ptp(a) == 0.0 or np.ptp(b) == 0.0:
        return None
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _ranks(values: Column) -> Column:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(count)
    ranks: Column = (ends - (count - 1) / 2.0)[place]
    return ranks


LOST_RUN = 1.0
"""Regret of picking a layout that runs out of memory. Source: assumption, a run's time again."""


def regret(asked: Batch, made: Sequence[Prediction], at: Sequence[int]) -> float | None:
    """Mean over choice sets of how much slower the picked layout is than the measured best.

    The pick is the fastest of those predicted to fit (of all, if none is). Sets of one are left
    out, as are those in which nothing was timed.
    """
    sets: dict[str, list[int]] = defaultdict(list)
    for i in at:
        known = _measured(asked, i, "step_s") or asked.rows[i]["measured"].get("out_of_memory")
        if (name := asked.rows[i].get("choice_set")) and known:
            sets[str(name)].append(i)
    found = []
    for members in sets.values():
        seen = {i: _measured(asked, i, "step_s") for i in members}
        timed = [seconds for seconds in seen.values() if seconds is not None]
        if len(members) > 1 and timed:
            picked = min(members, key=lambda i: (made[i].out_of_memory, made[i].step_s))
            taken = seen[picked]
            found.append(LOST_RUN if taken is None else taken / min(timed) - 1.0)
    return float(np.mean(found)) if found else None
