"""The swarm's part of a plan: who may decide inside the control period, and how fast to fly."""

from __future__ import annotations

from collections.abc import Iterator

from sextant.axes import Axis
from sextant.errors import InfeasibleError
from sextant.facts import Facts, Machine
from sextant.plan.loop_quantities import loop_quantities
from sextant.plan.part import Bill, Part
from sextant.plan.placements import (
    FALANGA,
    Placement,
    choose,
    find_placements,
)
from sextant.plan.quantity import Budget, Hardest, Stage, Striking
from sextant.units import show, show_count, show_seconds
from sextant.workload import Agents, Workload


def plan_swarm(workload: Workload, machine: Machine, facts: Facts) -> Part | None:
    """Weighs deciding on board, at the edge and in the cloud; None without a control period.

    Raises:
        InfeasibleError: perceiving and deciding alone take longer than the control period.
    """
    agents = workload.agents
    if agents is None or agents.control_period is None:
        return None
    period = agents.control_period
    own = agents.perceive_time + agents.decide_time
    if own > period:
        raise InfeasibleError(
            f"control period: {show_seconds(agents.perceive_time)} to perceive + "
            f"{show_seconds(agents.decide_time)} to decide = {show_seconds(own)}, longer than "
            f"the {show_seconds(period)} between decisions, even with no network at all",
            where="agents.control_period",
            hint="a smaller model, a faster computer on board or a slower control loop",
        )
    placements = find_placements(agents, period, facts)
    chosen = choose(agents, placements)
    busy, waiting = _lean(agents, chosen, facts)
    return Part(
        name="swarm",
        quantities=tuple(loop_quantities(agents, period, facts, placements, chosen)),
        layout=_layout(placements, chosen),
        striking=_striking(period, placements),
        hardest=_hardest(agents, period, chosen),
        busy=busy,
        waiting=waiting,
        bills=tuple(_bills(agents, machine, facts, chosen)),
        budget=_budget(agents, period, chosen),
        risks=tuple(_risks(agents, period, machine, facts, placements, chosen)),
        assumptions=tuple(_assumptions(agents, facts)),
        costs=_costs(agents, period, chosen),
    )


def _layout(placements: tuple[Placement, ...], chosen: Placement) -> dict[str, object]:
    return {
        "brain": chosen.name,
        "placements": {
            placement.name: {
                "latency_s": placement.latency_s,
                "left_s": placement.left_s,
                "viable": placement.viable,
                "max_safe_speed_m_per_s": placement.max_safe_speed_m_per_s,
                "single_points_of_failure": list(placement.single_points_of_failure),
                "because": placement.because,
            }
            for placement in placements
        },
    }


def _striking(period: float, placements: tuple[Placement, ...]) -> Striking:
    cloud = placements[-1]
    number = f"{show_seconds(period)} to perceive, decide and act"
    trip = f"the round trip to a cloud takes {cloud.round_trip_range}"
    if cloud.left_s < 0.0:
        return Striking(number=number, because=f"{trip}: the decision cannot leave the drone")
    return Striking(number=number, because=f"{trip}, and {show_seconds(cloud.left_s)} are left")


def _hardest(agents: Agents, period: float, chosen: Placement) -> Hardest:
    if chosen.round_trip_s > 0.0:
        what = f"keeping {agents.count} agents in hand through one centre and one link"
        because = "; ".join(f"all stop with {f}" for f in chosen.single_points_of_failure)
        return Hardest(what=what, axis=Axis.COORDINATION, because=because)
    if agents.count == 1:
        what = f"deciding on board inside {show_seconds(period)}"
        return Hardest(what=what, axis=Axis.INFERENCE, because="nobody to agree with")
    return Hardest(
        what=f"deciding on board inside {show_seconds(period)}, and agreeing without a chief",
        axis=Axis.INTELLIGENCE,
        because=(
            f"{show_seconds(chosen.latency_s)} of {show_seconds(period)} go to perceiving and "
            f"deciding; in what is left, {agents.count} drones must agree on who does what from "
            "messages that are late or lost, and none may wait for another"
        ),
    )


def _lean(
    agents: Agents, chosen: Placement, facts: Facts
) -> tuple[dict[Axis, float], dict[Axis, float]]:
    """Seconds by axis over one control period of the whole swarm."""
    count, remote = float(agents.count), chosen.round_trip_s > 0.0
    decides = Axis.INFERENCE if remote or agents.count == 1 else Axis.INTELLIGENCE
    busy = {Axis.INFERENCE: count * agents.perceive_time}
    busy[decides] = busy.get(decides, 0.0) + count * agents.decide_time
    peers = 1.0 if remote else count - 1.0
    handled = 2.0 * count * peers * facts.value("swarm_message_handling_s")
    busy[Axis.COORDINATION] = handled
    waiting = {Axis.COORDINATION: count * chosen.round_trip_s}
    return busy, waiting


def _bills(agents: Agents, machine: Machine, facts: Facts, chosen: Placement) -> Iterator[Bill]:
    board = machine if machine.kind == "edge" else facts.machines.get("edge-drone", machine)
    yield Bill(
        what="computers on board, written off by the hour",
        machine=board.name,
        count=float(agents.count),
        usd_per_hour=board.price_usd_per_hour,
    )
    if chosen.round_trip_s > 0.0:
        server = facts.machines.get("cpu-server", machine)
        yield Bill(
            what="the server that decides",
            machine=server.name,
            count=1.0,
            usd_per_hour=server.price_usd_per_hour,
        )


def _budget(agents: Agents, period: float, chosen: Placement) -> Budget:
    remote = chosen.round_trip_s > 0.0
    decides = Axis.INFERENCE if remote else Axis.INTELLIGENCE
    stages = [Stage(name="perceive", axis=Axis.INFERENCE, seconds=agents.perceive_time)]
    if remote:
        trip = chosen.round_trip_s
        stages.append(Stage(name="round trip", axis=Axis.COORDINATION, seconds=trip))
    stages.append(Stage(name="decide", axis=decides, seconds=agents.decide_time))
    what = f"one control period, deciding {chosen.where}"
    return Budget(allowed_s=period, stages=tuple(stages), what=what)


def _risks(
    agents: Agents,
    period: float,
    machine: Machine,
    facts: Facts,
    placements: tuple[Placement, ...],
    chosen: Placement,
) -> Iterator[str]:
    for failure in chosen.single_points_of_failure:
        yield f"single point of failure: {failure}"
    edge = placements[1]
    if chosen.name == "onboard" and edge.fits:
        back = " and ".join(edge.single_points_of_failure)
        yield (
            f"an edge server {show_seconds(edge.round_trip_s)} away would leave "
            f"{show_seconds(edge.left_s)}, and bring back {back} as single points of failure"
        )
    if agents.speed is not None and chosen.max_safe_speed_m_per_s is not None:
        speed, safe = agents.speed, chosen.max_safe_speed_m_per_s
        if speed > safe:
            yield f"{speed:g} m/s is faster than the {safe:.3g} m/s that is safe ({FALANGA})"
    lease, hold = facts.value("middleware_lease_s"), agents.tolerable_hold or period
    if agents.count > 1 and lease > hold:
        yield (
            f"timeouts in the wrong order: a middleware's default lease of {show_seconds(lease)} "
            f"is {show_count(lease / period)} control periods, longer than the "
            f"{show_seconds(hold)} that agents may hold; judge a peer by its last message"
        )
    volume = (agents.count - 1) / period * agents.message_bytes
    board = machine if machine.kind == "edge" else facts.machines.get("edge-drone", machine)
    if volume > board.network_bytes_per_s:
        most = int(board.network_bytes_per_s * period / agents.message_bytes)
        yield (
            f"hearing all peers takes {show(volume, 'B/s')}, the radio carries "
            f"{show(board.network_bytes_per_s, 'B/s')}: listen to the nearest {most:,} only"
        )


def _assumptions(agents: Agents, facts: Facts) -> Iterator[str]:
    if agents.edge_round_trip is None:
        trip = show_seconds(facts.value("edge_round_trip_s"))
        yield f"an edge server is {trip} away, where the workload states none"
    if "round_trip" not in agents.model_fields_set:
        trip = show_seconds(facts.value("cloud_round_trip_s"))
        yield f"a cloud is {trip} away, where the workload states none"
    if agents.longest_outage is None and agents.link_may_fail:
        yield f"outages of up to {show_seconds(facts.value('assumed_outage_s'))}"


def _costs(agents: Agents, period: float, chosen: Placement) -> dict[Axis, str]:
    rate = (agents.count - 1) / period
    costs = {
        Axis.INFERENCE: f"a computer on each of {show_count(agents.count)} agents, busy "
        f"{show_seconds(agents.perceive_time)} of every {show_seconds(period)}",
        Axis.COORDINATION: f"{show_count(rate)} messages/s to each agent",
    }
    if chosen.round_trip_s == 0.0:
        costs[Axis.INTELLIGENCE] = (
            f"{show_seconds(agents.decide_time)} of deciding on board, and plans that may disagree "
            "for a period or more"
        )
    return costs
