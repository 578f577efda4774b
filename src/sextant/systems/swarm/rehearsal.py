"""A rehearsal of a swarm: a few drones, each a process, over a field; and what one mind costs."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sextant.errors import EngineError
from sextant.fleet import wire
from sextant.fleet.ledger import Ledger
from sextant.plan.swarm_rehearsal import MindCosts, SwarmShape
from sextant.systems.swarm.agreement.auction import MOST_TASKS
from sextant.systems.swarm.agreement.words import Word
from sextant.systems.swarm.drone.pilot import NEAR_M, PLAN_TICKS, VERSION_TICKS, WORD_TICKS
from sextant.systems.swarm.drone.process import Books, warm
from sextant.systems.swarm.mission.launch import Flight, free_ports
from sextant.systems.swarm.mission.stepped import Mission, MissionRule
from sextant.systems.swarm.placement.bench import Ground
from sextant.systems.swarm.trials import (
    Dodge,
    Settling,
    collisions_at,
    largest_safe_m_s,
    settled_s,
)
from sextant.systems.swarm.world.ground import CameraRule
from sextant.systems.swarm.world.maps import read_map
from sextant.systems.swarm.world.process import SUB_TICKS
from sextant.systems.swarm.world.sensors import SensorRule
from sextant.systems.swarm.world.world import WorldRule

PERIOD_S = 0.05
_STAND_S, _MINDS, _FRAME_TICKS = 10.0, 4, 4
_HOPS = 200
_DODGES, _STEP_M_S, _FASTEST_M_S = 5, 0.5, 120.0
_AUCTIONS = 15
_STAGES = ("perceive", "map", "agree", "plan", "control")


@dataclass(frozen=True, kw_only=True, slots=True)
class Observed:
    """What was measured, by the names of the predictions; the ledger's shares; and more.

    Attributes:
        values: by quantity.
        lean: shares of the axes.
        mission: the figures of the flight.
        collisions: of the dodges, by speed.
    """

    values: Mapping[str, float]
    lean: Mapping[str, Mapping[str, float]]
    mission: Mapping[str, Any] = field(default_factory=dict)
    collisions: tuple[tuple[float, int], ...] = ()


def shape_of(flight: Flight, dodge: Dodge) -> SwarmShape:
    """A flight as its predictions see it."""
    camera, sensors = CameraRule(), SensorRule()
    area_m2 = float(flight.reachable_C.sum()) * flight.chart.cell_m**2
    gaps_NN = np.hypot(*(flight.starts_N2[:, None] - flight.starts_N2[None]).transpose(2, 0, 1))
    return SwarmShape(
        drones=flight.drones,
        cores=len(os.sched_getaffinity(0)),
        at_once=-(-flight.drones // SUB_TICKS),
        period_s=PERIOD_S,
        area_m2=area_m2,
        width_m=camera.view_m - 2.0 * camera.target_m - 2.0 * sensors.position_error_m,
        speed_m_per_s=WorldRule().body.speed_m_s,
        word_ticks=VERSION_TICKS,
        near_word_ticks=WORD_TICKS,
        near_m=NEAR_M,
        belief_ticks=PLAN_TICKS,
        plan_ticks=PLAN_TICKS,
        start_gap_m=float(gaps_NN[gaps_NN > 0].min(initial=99.0)),
        sensing_m=dodge.sensing_m,
        dodge_m=dodge.least_m,
        acceleration_m_per_s2=dodge.acceleration_m_s2,
    )


def unit_costs(ground: Ground, drones: int) -> MindCosts:
    """Some minds on a bench stand, in this process; and a hop of the wire.

    Each wakes as often as in flight: who has slept finds nothing of its own in a cache any more,
    and takes twice as long as one that never stops.
    """
    minds = max(2, min(drones, _MINDS))
    rule = MissionRule(drones=minds, world=WorldRule(seed=ground.seed + 1))
    stand = Mission(read_map(ground.map_file, cell_m=ground.cell_m), rule)
    # Drones load on the ground what a tick needs, so that is no cost of one.
    warm(stand.pilots[0].rule)
    books, words, sizes = Books(), [b""] * minds, []
    wake_s = time.monotonic()
    for tick in range(round(_STAND_S / PERIOD_S)):
        acts = []
        seen = stand.world.sense(range(minds), frame=tick % _FRAME_TICKS == 0)
        for name, (pilot, readings) in enumerate(zip(stand.pilots, seen, strict=True)):
            heard = [word for other, word in enumerate(words) if word and other != name]
            wake_s = max(wake_s + PERIOD_S / minds, time.monotonic() - PERIOD_S)
            time.sleep(max(0.0, wake_s - time.monotonic()))
            Word.unpack.cache_clear()
            begun_s = time.perf_counter()
            acts.append(pilot.tick(readings, heard, books.stage))
            books.loops_s.append(time.perf_counter() - begun_s)
        words = [act.word or b"" for act in acts]
        sizes += [len(word) for word in words if word]
        stand.world.step(np.array([act.setpoint_2 for act in acts]), PERIOD_S)
    figures = books.figures()
    return MindCosts(
        minds=minds,
        stages_s=figures["stages_mean_s"],
        tick_p99_s=figures["loop_p99_s"],
        word_bytes=statistics.mean(sizes),
        hop_s=_hop_s(),
    )


def _hop_s() -> float:
    """A message of readings' size from one session to another: the median."""
    here, there = (f"tcp/127.0.0.1:{port}" for port in free_ports(2))
    come, body = threading.Event(), bytes(600)
    took: list[float] = []
    one, two = wire.peer(here, []), wire.peer(there, [here])
    try:
        hearing = two.declare_subscriber("sextant-hop", wire.direct(lambda _sample: come.set()))
        until_s = time.monotonic() + 10.0
        while len(took) < _HOPS:
            if time.monotonic() > until_s:
                raise EngineError("no message comes over the wire")
            come.clear()
            begun_s = time.perf_counter()
            one.put("sextant-hop", body)
            if come.wait(0.1):
                took.append(time.perf_counter() - begun_s)
        del hearing
    finally:
        one.close()
        two.close()
    return statistics.median(took)


def rehearse(flight: Flight, dodge: Dodge, side_m: float) -> Observed:
    """Flies, then tries how fast a drone may fly and how soon an auction settles.

    Raises:
        EngineError: the physics failed.
    """
    flight.start()
    figures = flight.watch(lambda _frame: None)
    reports = flight.reports
    if not reports:
        raise EngineError("no drone came to its end")
    airborne_s = sum(report["ticks"] for report in reports) * PERIOD_S

    def mean(*keys: str) -> float:
        found: list[Any] = list(reports)
        for key in keys:
            found = [one[key] for one in found]
        return float(statistics.mean(found))

    collisions = _collisions(dodge)
    settling = Settling(
        drones=flight.drones,
        tasks=MOST_TASKS * flight.drones,
        period_s=PERIOD_S,
        bid_ticks=PLAN_TICKS,
        tell_ticks=PLAN_TICKS,
        side_m=side_m,
    )
    values = {
        **{f"{name}_s": mean("stages_mean_s", name) for name in _STAGES},
        "loop_p50_s": mean("loop_p50_s"),
        "loop_p99_s": mean("loop_p99_s"),
        "words_per_s": sum(report["words"] for report in reports) / airborne_s,
        "words_bytes_per_s": sum(report["words_bytes"] for report in reports) / airborne_s,
        "min_separation_m": figures["min_separation_m"],
        "auction_settled_s": statistics.median(settled_s(settling, n) for n in range(_AUCTIONS)),
        "max_safe_speed_m_per_s": largest_safe_m_s(collisions),
    }
    if figures["time_to_95_s"] is not None:
        values["time_to_95_s"] = figures["time_to_95_s"]
    ledger = Ledger()
    for report in reports:
        ledger.merge(report["ledger"])
    return Observed(
        values=values, lean=ledger.lean(), mission=figures, collisions=tuple(collisions)
    )


def _collisions(dodge: Dodge) -> list[tuple[float, int]]:
    """Collisions as speed rises, up to where every dodge fails."""
    found: list[tuple[float, int]] = []
    speed_m_s = 2.0
    while speed_m_s <= _FASTEST_M_S and (not found or found[-1][1] < _DODGES):
        found.append((speed_m_s, collisions_at(speed_m_s, dodge, _DODGES)))
        speed_m_s += _STEP_M_S
    return found
