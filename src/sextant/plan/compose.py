"""One plan of a workload: its place on the map, and the parts of the planners that it concerns."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence

from sextant.axes import AXES, Axis
from sextant.facts import Facts, Machine
from sextant.plan.basics import plan_basics
from sextant.plan.part import Part
from sextant.plan.position import Position, find_nearest, locate
from sextant.plan.quantity import Ceiling, Lean, Plan, Quantity, Step
from sextant.units import show, show_ratio
from sextant.workload import Workload

PLANNERS = (
    ("swarm", "agents"),
    ("federated", "sites"),
    ("pretraining", "training"),
    ("recommender", "tables"),
    ("streams", "streams"),
    ("retrieval", "index"),
    ("serving", "serving"),
)
"""Each planner's module with the table that it needs, the most particular first: the first part
that applies names the hardest part and the number. A planner is imported only when its table is
there, since a plan should start in a moment."""

HOURS_PER_MONTH = 730.5

_KIND = {"custody": 0, "latency": 0, "autonomy": 0, "data": 1, "model": 1}
_WHY = (
    "no number of machines lifts it, so it shapes everything after it",
    "nothing runs until what must be held fits",
    "it runs, and must now keep up",
)


def make_plan(
    workload: Workload,
    facts: Facts,
    atlas: Mapping[str, Position],
    machine: str | None = None,
) -> Plan:
    """Answers what kind of system a workload is, how big it gets, and what will be hard.

    Args:
        workload: what the user knows.
        facts: machines, links, rates and prices.
        atlas: where the known systems are, for `nearest`.
        machine: the reference machine, instead of the workload's own.

    Raises:
        InputError: the machine is not in the facts.
        InfeasibleError: no layout exists; names the tightest constraint.
    """
    reference = facts.machine(machine or workload.fleet.machine)
    position = locate(workload, facts, reference.name)
    parts = _parts(workload, reference, facts)
    lead = _lead(workload, parts)
    quantities: dict[str, Quantity] = {}
    for part in (lead, *parts):
        for quantity in part.quantities:
            quantities.setdefault(quantity.name, quantity)
    quantities |= {q.name: q for q in _costs(parts, facts)}
    costs = {axis: text for part in reversed(parts) for axis, text in part.costs.items()}
    return Plan(
        workload=workload.name,
        does=workload.does,
        machine=reference.name,
        coordinates=position.coordinates,
        marks=position.marks,
        ceilings=position.ceilings,
        headroom=position.headroom,
        order=_order(position, costs),
        striking=lead.striking,
        nearest=find_nearest(workload, position, atlas),
        hardest=lead.hardest,
        layout={part.name: part.layout for part in parts if part.layout},
        quantities=quantities,
        lean=_lean(parts),
        budget=next((part.budget for part in parts if part.budget), None),
        risks=tuple(dict.fromkeys(risk for part in parts for risk in part.risks)),
        assumptions=_assumptions(workload, parts),
    )


def _parts(workload: Workload, machine: Machine, facts: Facts) -> list[Part]:
    """What every planner that applies has to say; the basics always do."""
    found: list[Part | None] = []
    for name, table in PLANNERS:
        if getattr(workload, table) is not None:
            module = importlib.import_module(f"sextant.plan.{name}")
            found.append(getattr(module, f"plan_{name}")(workload, machine, facts))
    found.append(plan_basics(workload, machine, facts))
    return [part for part in found if part is not None]


def _lead(workload: Workload, parts: Sequence[Part]) -> Part:
    """The part that speaks for the whole: agents that decide apart make theirs the hard one."""
    if workload.agents is not None and workload.agents.decide_apart:
        for part in parts:
            if part.hardest.axis is Axis.INTELLIGENCE:
                return part
    return parts[0]


def _order(position: Position, costs: Mapping[Axis, str]) -> tuple[Step, ...]:
    """Axes in the order to spread them: what cannot be lifted, what must fit, what must keep up.

    Within a kind the furthest exceeded comes first; coordination is last, being the others' price.
    """
    worst: dict[Axis, Ceiling] = {}
    for ceiling in position.ceilings:
        worst.setdefault(ceiling.axis, ceiling)
    ranked = sorted(worst.values(), key=lambda c: (_KIND.get(c.name, 2), -c.ratio))
    steps = [
        Step(
            axis=c.axis,
            because=f"{c.name} {show_ratio(c.ratio)}: {_WHY[_KIND.get(c.name, 2)]}",
            cost=costs.get(c.axis, ""),
        )
        for c in ranked
    ]
    if Axis.COORDINATION in position.coordinates.spread:
        because = f"the price of the other {len(steps)}: it follows them and is never spread alone"
        cost = costs.get(Axis.COORDINATION, "")
        steps.append(Step(axis=Axis.COORDINATION, because=because, cost=cost))
    return tuple(steps)


def _costs(parts: Sequence[Part], facts: Facts) -> list[Quantity]:
    """What the machines of all parts cost: by the month if always on, in all if for a time."""
    bills = [bill for part in parts for bill in part.bills]
    found = []
    for name, chosen in (
        ("cost_usd_per_month", [b for b in bills if b.hours is None]),
        ("cost_usd", [b for b in bills if b.hours is not None]),
    ):
        if not chosen:
            continue
        lines = [
            (b.count * b.usd_per_hour * (HOURS_PER_MONTH if b.hours is None else b.hours), b)
            for b in chosen
        ]
        total = sum(cost for cost, _ in lines)
        because = " + ".join(
            f"{b.what}: {b.count:,.4g} {b.machine} x ${b.usd_per_hour:,.4g}/h x "
            f"{HOURS_PER_MONTH if b.hours is None else b.hours:,.4g} h = {show(cost, 'USD')}"
            for cost, b in lines
        )
        found.append(
            Quantity(
                name=name,
                value=total,
                unit="USD",
                low=total * facts.value("reserved_price_share"),
                high=total * facts.value("on_demand_surcharge"),
                because=because,
                source="on-demand list prices in facts; reserved capacity is down to 0.4 of it",
            )
        )
    return found


def _lean(parts: Sequence[Part]) -> Lean:
    """Shares over all parts, each weighed by the machines that it is billed for."""
    busy = dict.fromkeys(AXES, 0.0)
    waiting = dict.fromkeys(AXES, 0.0)
    for part in parts:
        weight = sum(bill.count for bill in part.bills) or 1.0
        whole = sum(part.busy.values()) + sum(part.waiting.values())
        if whole <= 0:
            continue
        for axis in AXES:
            busy[axis] += weight * part.busy.get(axis, 0.0) / whole
            waiting[axis] += weight * part.waiting.get(axis, 0.0) / whole
    return Lean(busy=_shares(busy), waiting=_shares(waiting))


def _shares(seconds: Mapping[Axis, float]) -> dict[Axis, float]:
    whole = sum(seconds.values())
    return {axis: (value / whole if whole else 0.0) for axis, value in seconds.items()}


def _assumptions(workload: Workload, parts: Sequence[Part]) -> tuple[str, ...]:
    stated = [
        f"{name}: {source.removeprefix('assumption:').strip()}"
        for name, source in workload.sources.items()
        if source.startswith("assumption")
    ]
    return tuple(dict.fromkeys([*(a for part in parts for a in part.assumptions), *stated]))
