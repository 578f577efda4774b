"""A rehearsal and a drill of a swarm: predictions written down first, then real processes fly."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from sextant.axes import Axis
from sextant.facts import Facts
from sextant.fleet.fault import Fault
from sextant.plan.quantity import Lean
from sextant.plan.swarm_rehearsal import predict_swarm
from sextant.sights import record
from sextant.sights.rehearsal import DrillResult, Expectation, FiredFault, Recovery, Rehearsal
from sextant.systems.swarm.drill import BRAIN, LAUNCHER, Drilled, check_faults, drill
from sextant.systems.swarm.placement.bench import Ground, field
from sextant.systems.swarm.rehearsal import PERIOD_S, Observed, rehearse, shape_of, unit_costs
from sextant.systems.swarm.trials import Dodge
from sextant.units import show_seconds
from sextant.workload import Agents, Workload

__all__ = ["DRONES", "check_faults", "drill_swarm", "run_swarm", "set_swarm"]

DRONES = 4
_SIDE_M, _DRILL_SIDE_M = 36, 24
_DETECT_S = 3.0
_WHOLE = 0.95


def set_swarm(folder: Path, *, minutes: float, drilled: bool = False) -> Ground:
    """The field and the drones that stand for the workload here."""
    side = _DRILL_SIDE_M if drilled else _SIDE_M
    return Ground(
        map_file=field(folder / "field.map", side),
        cell_m=1.0,
        drones=DRONES,
        seconds=60.0 * minutes,
    )


def run_swarm(workload: Workload, ground: Ground, folder: Path, facts: Facts) -> Rehearsal:
    """Writes the predictions and their hash, flies, writes what was measured.

    Raises:
        EngineError: the physics or a drone failed.
    """
    agents = workload.agents
    assert agents is not None
    dodge = _dodge(agents)
    flight = ground.flight(folder / "flight", None)
    try:
        shape = shape_of(flight, dodge)
        quantities, lean = predict_swarm(shape, unit_costs(ground, flight.drones), facts)
        predictions = record.predictions_of(quantities)
        path, scale = record.record_path(), shape.drones / agents.count
        about = {"workload": workload.name, "scale": scale, "shape": asdict(shape)}
        key = record.write_predictions(path, predictions, at_s=time.time(), about=about)
        seen = rehearse(flight, dodge, _SIDE_M)
    finally:
        flight.close()
    outcome = {"lean": seen.lean, "mission": seen.mission, "collisions": seen.collisions}
    record.write_measurements(path, key, seen.values, at_s=time.time(), outcome=outcome)
    busy = {Axis(name): share for name, share in seen.lean["busy"].items()}
    return Rehearsal(
        workload=workload.name,
        scale=scale,
        fleet=f"{shape.drones} drone processes at {1 / PERIOD_S:g} Hz, and one for the physics",
        sights=record.sights_of(predictions, seen.values),
        lean_predicted=lean,
        lean_measured=Lean(busy=busy, waiting={}),
        record=str(path),
        plan_sha256=key.plan_sha256,
        notes=_notes(seen, shape.drones, agents),
    )


def drill_swarm(ground: Ground, folder: Path, faults: Sequence[Fault]) -> DrillResult:
    """Flies with the faults, those of a brain in a flight of their own, and judges.

    Raises:
        InputError: a fault names what no flight has.
        EngineError: a mission does not end.
    """
    check_faults(faults, ground.drones)
    apart = [fault for fault in faults if fault.member != BRAIN]
    remote = [fault for fault in faults if fault.member == BRAIN]
    seen = {
        name: drill(ground, folder / name, struck)
        for name, struck in (("onboard", apart), ("remote", remote))
        if struck
    }
    expectations = tuple(
        expectation
        for name, one in seen.items()
        for expectation in _judge(one, remote if name == "remote" else apart)
    )
    fired = {fault: at_s for one in seen.values() for fault, at_s in one.landed.items()}
    detected = [one.detect_s for one in seen.values() if one.detect_s is not None]
    return DrillResult(
        faults=tuple(FiredFault(spec=str(f), fired_at_s=fired.get(f)) for f in faults),
        recovery=Recovery(detect_s=max(detected, default=None)),
        lost={
            "drones": sum(len(one.killed) for one in seen.values()),
            "collisions": sum(one.collisions for one in seen.values()),
            "coverage": {name: one.coverage for name, one in seen.items()},
        },
        held=all(e.held for e in expectations),
        expectations=expectations,
    )


def _judge(seen: Drilled, faults: Sequence[Fault]) -> list[Expectation]:
    found = [
        Expectation(what=f"{f} lands", expected=True, measured=f in seen.landed, held=there)
        for f in faults
        for there in [f in seen.landed]
    ]
    remote = any(fault.member == BRAIN for fault in faults)
    down = seen.landed_drones == seen.drones and seen.lost == len(seen.killed)
    found.append(_yes("all come down, and only who was killed is lost", down))
    found.append(_yes("nothing is touched", seen.collisions == 0))
    told = f"{100 * seen.coverage:.0f}% seen after {show_seconds(seen.seconds)}"
    if remote:
        found.append(
            Expectation(
                what="the brain stops every drone: its single point of failure",
                expected=f"less than {100 * _WHOLE:.0f}% seen",
                measured=told,
                held=seen.coverage < _WHOLE,
            )
        )
        return found
    found.append(
        Expectation(
            what=f"the rest finish the mission {_without(seen, faults)}",
            expected=f"at least {100 * _WHOLE:.0f}% seen",
            measured=told,
            held=seen.coverage >= _WHOLE,
        )
    )
    if seen.killed:
        found.append(
            Expectation(
                what="a drone that is dead is noticed",
                expected=f"within {show_seconds(_DETECT_S)}",
                measured="never" if seen.detect_s is None else show_seconds(seen.detect_s),
                held=seen.detect_s is not None and seen.detect_s <= _DETECT_S,
            )
        )
    return found


def _without(seen: Drilled, faults: Sequence[Fault]) -> str:
    names = [f"drone {name}" for name in seen.killed]
    if any(fault.member == LAUNCHER for fault in faults):
        names.append("their launcher")
    return f"without {' and '.join(names)}" if names else "undisturbed"


def _yes(what: str, held: bool) -> Expectation:
    return Expectation(what=what, expected=True, measured=held, held=held)


def _dodge(agents: Agents) -> Dodge:
    """A drone of the workload's; where it does not say, of the atlas's usual."""
    return Dodge(
        period_s=PERIOD_S,
        sensing_m=agents.sensing_range or 8.0,
        radius_m=agents.radius,
        acceleration_m_s2=agents.acceleration,
    )


def _notes(seen: Observed, drones: int, agents: Agents) -> tuple[str, ...]:
    rising = ", ".join(f"{speed:g} m/s {hits}" for speed, hits in seen.collisions)
    share = 100 * seen.mission["coverage"]
    return (
        f"{drones} drones over a field of {_SIDE_M} m stand for {agents.count:,}; "
        f"{share:.0f}% seen, {seen.mission['collisions']} collisions, "
        f"{seen.mission['missed_deadlines']} of {seen.mission['ticks']} deadlines missed",
        f"collisions of 5 dodges as speed rises: {rising}",
    )
