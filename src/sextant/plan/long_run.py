"""Weeks of a job: how often it fails, how often to save, and what is left of the time."""

from __future__ import annotations

from dataclasses import dataclass

from sextant.facts import Facts, Machine
from sextant.laws.failures import goodput, mtbf_s, young_daly_s
from sextant.plan.job_layout import Choice
from sextant.plan.part import within
from sextant.plan.quantity import Quantity
from sextant.units import show_seconds

DAY_S = 86400.0
_NODE = 8.0
"""The failure rates of facts are for nodes of eight accelerators."""
_TORCH_TIMEOUT_S = 600.0


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
    best = goodput(mtbf=mtbf, save_s=save, restart_s=restart)
    worst = goodput(mtbf=low, save_s=save, restart_s=restart)
    kindest = goodput(mtbf=high, save_s=save, restart_s=restart)
    factor = 1.12
    days = work_s / best.useful / DAY_S
    mtbf_because = (
        f"{nodes:,.4g} nodes of eight x {row.value:g} failures a node-day = "
        f"{nodes * row.value:.3g} a day"
    )
    quantities = (
        Quantity(
            name="mtbf_s",
            value=mtbf,
            unit="s",
            low=low,
            high=high,
            because=mtbf_because,
            source=row.source,
        ),
        within("failures_per_day", DAY_S / mtbf, "/day", mtbf / low, mtbf_because, row.source),
        within(
            "checkpoint_interval_s",
            best.interval_s,
            "s",
            (mtbf / low) ** 0.5,
            f"exact optimum for a stall of {show_seconds(save)} and a failure every "
            f"{show_seconds(mtbf)}; Young/Daly gives {show_seconds(young_daly_s(save, mtbf))}",
            "laws/failures.py: Bougeret et al. 2011, theorem 1; Daly 2006",
        ),
        Quantity(
            name="goodput",
            value=best.useful,
            unit="fraction",
            low=min(worst.useful, best.useful),
            high=max(kindest.useful, best.useful),
            because=f"checkpoints {best.checkpoint:.2%}, work done twice {best.lost:.2%}, restarts "
            f"{best.restart:.2%} of the time",
            source="laws/failures.py: Daly 2006",
        ),
        within(
            "days",
            days,
            "days",
            factor,
            f"{choice.steps:,.0f} steps x {show_seconds(work_s / choice.steps)} / goodput "
            f"{best.useful:.1%}",
            "laws/step.py and laws/failures.py",
        ),
    )
    return LongRun(
        days=days,
        goodput=best.useful,
        mtbf_s=mtbf,
        mtbf_because=mtbf_because,
        quantities=quantities,
        risks=_risks(choice, machine, best.interval_s),
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
