"""Weeks of a job: how often it fails, how often to save, and what is left of the time."""

from __future__ import annotations

from dataclasses import dataclass

from sextant.facts import Facts, Machine
from sextant.laws.failures import (
    Goodput,
    elastic_worth_s,
    goodput,
    mtbf_s,
    slowed_by,
    young_daly_s,
)
from sextant.plan.job_layout import Choice
from sextant.plan.part import within
from sextant.plan.quantity import Quantity
from sextant.units import show_seconds

DAY_S = 86400.0
_NODE = 8.0
"""The failure rates of facts are for nodes of eight accelerators."""
_TORCH_TIMEOUT_S = 600.0
_DAYS_SPREAD = 1.12


@dataclass(frozen=True, kw_only=True, slots=True)
class LongRun:
    """The whole job, failures included."""

    days: float
    goodput: float
    mtbf_s: float
    mtbf_because: str
    quantities: tuple[Quantity, ...]
    risks: tuple[str, ...]


def run_long(choice: Choice, machine: Machine, facts: Facts, work_s: float) -> LongRun:
    """Adds failures, restarts and checkpoints to `work_s` of undisturbed steps."""
    row = facts.rows["failures_per_node_day"]
    nodes = max(1.0, choice.gpus / _NODE)
    mtbf, low, high = (mtbf_s(nodes, rate / DAY_S) for rate in (row.value, row.high, row.low))
    save = facts.value("checkpoint_stall_s")
    restart = facts.value("detect_failure_s") + facts.value("restart_job_s")
    delay, slow = facts.value("fail_slow_delay"), facts.rows["slow_node_fraction"]
    usual, worst, kindest = (
        goodput(mtbf=m, save_s=save, restart_s=restart, slowed=slowed_by(nodes, q, delay))
        for m, q in ((mtbf, slow.value), (low, slow.high), (high, slow.low))
    )
    days = work_s / usual.useful / DAY_S
    because = (
        f"{nodes:,.4g} nodes of eight x {row.value:g} failures a node-day = "
        f"{nodes * row.value:.3g} a day"
    )
    steps = f"{choice.steps:,.0f} steps x {show_seconds(work_s / choice.steps)}"
    return LongRun(
        days=days,
        goodput=usual.useful,
        mtbf_s=mtbf,
        mtbf_because=because,
        quantities=(
            _quantity("mtbf_s", (low, mtbf, high), "s", because, row.source),
            within("failures_per_day", DAY_S / mtbf, "/day", mtbf / low, because, row.source),
            within(
                "checkpoint_interval_s",
                usual.interval_s,
                "s",
                (mtbf / low) ** 0.5,
                f"exact optimum for a stall of {show_seconds(save)} and a failure every "
                f"{show_seconds(mtbf)}; Young/Daly gives {show_seconds(young_daly_s(save, mtbf))}",
                "laws/failures.py: Bougeret et al. 2011, theorem 1; Daly 2006",
            ),
            *_elastic(choice, facts),
            _goodput(usual, worst, kindest),
            _quantity(
                "days",
                (
                    days / max(_DAYS_SPREAD, kindest.useful / usual.useful),
                    days,
                    days * max(_DAYS_SPREAD, usual.useful / worst.useful),
                ),
                "days",
                f"{steps} / goodput {usual.useful:.1%}",
                "laws/step.py and laws/failures.py",
            ),
        ),
        risks=_risks(choice, machine, usual.interval_s),
    )


def _elastic(choice: Choice, facts: Facts) -> tuple[Quantity, ...]:
    """When to go on without a lost node rather than wait for it; nothing if none can be spared."""
    share = 1.0 / choice.layout.dp
    if share >= 1.0:
        return ()
    noticed, started = facts.rows["detect_failure_s"], facts.rows["restart_job_s"]
    low, value, high = (
        elastic_worth_s(restart_s, share)
        for restart_s in (
            noticed.low + started.low,
            noticed.value + started.value,
            noticed.high + started.high,
        )
    )
    because = (
        f"a node back sooner is worth waiting for; later, go on with {1.0 - share:.1%} of the pace "
        "and start again when it is back"
    )
    source = "laws/failures.py: elastic_worth_s; " + started.source
    return (_quantity("elastic_worth_s", (low, value, high), "s", because, source),)


def _goodput(usual: Goodput, worst: Goodput, kindest: Goodput) -> Quantity:
    low = min(worst.useful, usual.useful)
    high = max(kindest.useful, usual.useful)
    because = (
        f"checkpoints {usual.checkpoint:.2%}, work done twice {usual.lost:.2%}, restarts "
        f"{usual.restart:.2%}, stragglers {usual.slow:.2%} of the time"
    )
    source = "laws/failures.py: Daly 2006; Wu et al. 2025"
    return _quantity("goodput", (low, usual.useful, high), "fraction", because, source)


def _quantity(
    name: str, bounds: tuple[float, float, float], unit: str, because: str, source: str
) -> Quantity:
    low, value, high = bounds
    return Quantity(
        name=name, value=value, unit=unit, low=low, high=high, because=because, source=source
    )


def _risks(choice: Choice, machine: Machine, interval_s: float) -> tuple[str, ...]:
    found = []
    if choice.gpus > machine.units:
        found.append(
            "single point of failure: every rank; one that stops halts the step of all "
            f"{choice.gpus:,}"
        )
    if interval_s < _TORCH_TIMEOUT_S:
        found.append(
            f"timeouts ordered wrongly: collectives wait {show_seconds(_TORCH_TIMEOUT_S)} by "
            f"default, longer than the {show_seconds(interval_s)} between checkpoints: a hung rank "
            "would cost more than all that a checkpoint saves"
        )
    return tuple(found)
