"""The federation's part of a plan: learning from data that may not move."""

from __future__ import annotations

from collections.abc import Iterator

from sextant.axes import Axis
from sextant.facts import Facts, Machine
from sextant.laws.federation import round_bytes
from sextant.laws.skew import effective_count
from sextant.plan.ceilings import custody_binds
from sextant.plan.demand import trained_model
from sextant.plan.part import Bill, Part
from sextant.plan.quantity import Budget, Hardest, Stage, Striking
from sextant.plan.round_quantities import round_quantities
from sextant.plan.rounds import Round, check_deadline, size_round
from sextant.units import show, show_count, show_seconds
from sextant.workload import Sites, Workload


def plan_federated(workload: Workload, machine: Machine, facts: Facts) -> Part | None:
    """Sizes the rounds of sites that keep their records; None where records may leave.

    Raises:
        InfeasibleError: the round's deadline passes before the model has gone there and back, or
            before one site can be expected to answer.
    """
    sites = workload.sites
    if sites is None or sites.count < 2 or not custody_binds(workload):
        return None
    plan = size_round(workload, sites, facts)
    check_deadline(sites, plan)
    total_s = sites.rounds * plan.round_s
    busy = {
        Axis.TRAINING: plan.sites * plan.epoch_s,
        Axis.COORDINATION: plan.sites * plan.model_bytes / machine.memory_bandwidth_bytes_per_s,
    }
    idle = max(0.0, plan.round_s - plan.epoch_s)
    return Part(
        name="federated",
        quantities=tuple(round_quantities(workload, sites, plan, facts, total_s)),
        layout=_layout(workload, sites, plan, machine),
        striking=Striking(
            number="0 bytes of patient data leave",
            because=(
                f"{sites.count} sites train one model of {show(plan.model_bytes, 'B')}; what "
                f"crosses is {show(round_bytes(plan.sites, plan.model_bytes), 'B')} of weights "
                f"a round, and none of {show_count(plan.sites * plan.records)} records"
            ),
        ),
        hardest=_hardest(sites, plan),
        busy=busy,
        waiting={Axis.COORDINATION: plan.sites * idle},
        bills=tuple(_bills(machine, facts, sites, total_s)),
        budget=_budget(sites, plan),
        risks=tuple(_risks(sites, plan)),
        assumptions=tuple(_assumptions(workload, facts)),
        costs={
            Axis.TRAINING: f"{sites.count} sites, each {show_seconds(plan.epoch_s)} a round",
            Axis.COORDINATION: (
                f"{show(round_bytes(plan.sites, plan.model_bytes), 'B')} a round, and waiting for "
                f"the slowest of {sites.count}: {show_seconds(plan.round_s)}"
            ),
        },
    )


def _layout(workload: Workload, sites: Sites, plan: Round, machine: Machine) -> dict[str, object]:
    kept = f"{show_count(plan.sites * plan.records)} records"
    return {
        "sites": sites.count,
        "at each site": f"1 x {machine.name}, with its own records",
        "aggregator": "one server, which sees sums only",
        "refused": {
            "what": f"{kept} stay where they are: images never leave",
            "patient_bytes_leaving": 0,
            "axis": Axis.DATA.value,
            "because": "custody: "
            + (
                "the sites may not export"
                if workload.sites is not None and not workload.sites.may_export
                else "the corpus may not leave its site"
            ),
        },
    }


def _hardest(sites: Sites, plan: Round) -> Hardest:
    because = (
        f"the slowest of {sites.count} sites takes {show_seconds(plan.slowest_s)} where the median "
        f"takes {show_seconds(plan.median_s)}; sites differ {plan.sigma:g} in the logarithm of "
        f"their records, so {sites.count} count as "
        f"{effective_count(plan.sites, plan.sigma):.3g} equal ones"
    )
    return Hardest(
        what="learning from data that cannot move: stragglers, and sites that are not alike",
        axis=Axis.COORDINATION,
        because=because,
    )


def _bills(machine: Machine, facts: Facts, sites: Sites, total_s: float) -> Iterator[Bill]:
    hours = total_s / 3600.0
    yield Bill(
        what="one machine a site",
        machine=machine.name,
        count=float(sites.count),
        usd_per_hour=machine.price_usd_per_hour,
        hours=hours,
    )
    server = facts.machines.get("cpu-server", machine)
    yield Bill(
        what="the aggregator",
        machine=server.name,
        count=1.0,
        usd_per_hour=server.price_usd_per_hour,
        hours=hours,
    )


def _budget(sites: Sites, plan: Round) -> Budget | None:
    if sites.round_deadline is None:
        return None
    stages = (
        Stage(name="model down", axis=Axis.COORDINATION, seconds=plan.transfer_s),
        Stage(name="epoch at the median site", axis=Axis.TRAINING, seconds=plan.median_s),
        Stage(
            name="waiting for the slowest",
            axis=Axis.COORDINATION,
            seconds=max(0.0, plan.slowest_s - plan.median_s),
        ),
        Stage(name="update up", axis=Axis.COORDINATION, seconds=plan.transfer_s),
    )
    return Budget(allowed_s=sites.round_deadline, stages=stages, what="one round")


def _risks(sites: Sites, plan: Round) -> Iterator[str]:
    yield "single point of failure: the aggregator; sites keep their last model and can go on"
    whole = plan.slowest_s + 2.0 * plan.transfer_s
    if plan.deadline_s is not None and plan.deadline_s < whole:
        lost = sites.count - plan.answering
        yield (
            f"the deadline of {show_seconds(plan.deadline_s)} passes before the slowest site "
            f"({show_seconds(whole)}): about {lost:.3g} sites are cut off every round, always the "
            "largest ones"
        )
    if plan.deadline_s is None:
        yield "no round deadline: one site that hangs stops every other"
    yield "updates can betray records: hide each in a secure sum, and add noise"


def _assumptions(workload: Workload, facts: Facts) -> Iterator[str]:
    if trained_model(workload) is None:
        count = show_count(facts.value("site_model_parameters"))
        yield f"a model of {count} parameters in fp32, where the workload states none"
    stated = workload.sites is not None and workload.sites.records_per_site is not None
    if not stated and workload.corpus is None:
        yield f"{show_count(facts.value('site_records'))} records a site"
    epsilon, delta = facts.value("privacy_epsilon"), facts.value("privacy_delta")
    yield f"a privacy budget of epsilon {epsilon:g} at delta {delta:g}, a site the unit protected"
