"""Islands of accelerators that train apart and exchange rarely over wide links (DiLoCo)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sextant.axes import Axis
from sextant.laws.shape import TransformerShape
from sextant.laws.step import StepBreakdown
from sextant.laws.wan import OuterLoop, all_reduce_s, diloco_round
from sextant.plan.job_layout import Choice
from sextant.plan.part import exact, within
from sextant.plan.quantity import Hardest, Quantity, Striking
from sextant.units import show, show_seconds
from sextant.workload import Training, Workload

_SOURCE = "laws/wan.py: Douillard et al. 2023, algorithm 1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Islands:
    """What training over wide links adds; nothing where there is one site."""

    step_factor: float = 1.0
    quantities: tuple[Quantity, ...] = ()
    layout: Mapping[str, object] = field(default_factory=dict)
    risks: tuple[str, ...] = ()
    striking: Striking | None = None
    hardest: Hardest | None = None


def plan_islands(
    workload: Workload,
    training: Training,
    shape: TransformerShape,
    step: StepBreakdown,
    choice: Choice,
) -> Islands:
    """The outer loop over the sites' links, beside what synchronous training would cost there.

    The inner step is that of the whole job's layout: with `n` islands each takes 1/n of the batch
    on 1/n of the accelerators, which leaves the time of a step about as it is.
    """
    sites = workload.sites
    if sites is None or sites.count < 2:
        return Islands()
    inner_steps = training.inner_steps or 1
    outer = diloco_round(
        parameters=float(shape.parameters),
        sites=sites.count,
        inner_steps=inner_steps,
        inner_step_s=step.total_s,
        link_bytes_per_s=sites.link,
        round_trip_s=sites.link_round_trip,
    )
    every_step = all_reduce_s(
        4.0 * shape.parameters, sites.count, sites.link, sites.link_round_trip
    )
    synchronous = step.total_s / (step.total_s + every_step)
    moved = f"2 x ({sites.count} - 1)/{sites.count} x {show(4.0 * shape.parameters, 'B')}"
    exchange = f"{moved} over {show(sites.link, 'B/s')}"
    return Islands(
        step_factor=1.0 / outer.utilisation,
        quantities=_quantities(outer, step, inner_steps, sites.count, exchange, every_step),
        layout={"islands": sites.count, "inner_steps": inner_steps},
        risks=(
            f"an island that dies takes {choice.gpus // sites.count:,} accelerators and up to "
            f"{inner_steps} steps of its work with it",
        ),
        striking=Striking(
            number=f"{inner_steps} steps to one exchange",
            because=f"utilisation {outer.utilisation:.1%}; exchanging after every step over "
            f"{show(sites.link, 'B/s')} would leave {synchronous:.1%}",
        ),
        hardest=_hardest(outer, step),
    )


def _hardest(outer: OuterLoop, step: StepBreakdown) -> Hardest:
    return Hardest(
        what="training as one over links a thousand times slower than a rack's",
        axis=Axis.COORDINATION,
        because=f"one exchange takes {show_seconds(outer.exchange_s)}, an inner step "
        f"{show_seconds(step.total_s)}: {outer.exchange_s / step.total_s:,.3g}x",
    )


def _quantities(
    outer: OuterLoop,
    step: StepBreakdown,
    inner_steps: int,
    sites: int,
    exchange: str,
    every_step: float,
) -> tuple[Quantity, ...]:
    moved = outer.bytes_per_site * sites
    synchronous = step.total_s / (step.total_s + every_step)
    steps = f"{inner_steps} steps of {show_seconds(step.total_s)}"
    return (
        exact("bytes_per_round", moved, "B", exchange, _SOURCE),
        within("exchange_s", outer.exchange_s, "s", 1.25, exchange, _SOURCE),
        within(
            "utilisation",
            outer.utilisation,
            "fraction",
            1.03,
            f"{steps} to one exchange of {show_seconds(outer.exchange_s)}",
            _SOURCE,
        ),
        within(
            "synchronous_utilisation",
            synchronous,
            "fraction",
            1.2,
            f"the same exchange after every step: {show_seconds(every_step)} each",
            _SOURCE,
        ),
    )
