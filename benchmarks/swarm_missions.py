"""Missions of twelve drones on five maps, a fifth of all words lost: nobody may touch anything, and
seeing nearly all takes little longer than it takes drones that a chief leads.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from benchmarks.bench import Figure, needs
from benchmarks.swarm_central import LedMission
from sextant.systems.swarm.mission.stepped import Flown, Mission, MissionRule
from sextant.systems.swarm.world.grid import Grid
from sextant.systems.swarm.world.maps import read_map
from sextant.systems.swarm.world.world import WorldRule

MAPS = ("empty-32-32", "random-32-32-10", "random-32-32-20", "maze-32-32-4", "room-32-32-8")
_SEEDS, _LED_SEEDS, _DRONES, _LOSS, _MOST_S = 20, 3, 12, 0.2, 120.0
_SEEN, _LONGER, _CHECK_TICKS = 0.95, 1.25, 4


def fly(name: str, seed: int) -> Flown:
    """One mission without a chief."""
    return Mission(_grid(name), _rule(seed, _LOSS)).fly()


def lead(name: str, seed: int) -> float:
    """Seconds until drones with a chief, who hears everything, have seen 95%."""
    mission = LedMission(_grid(name), _rule(seed, 0.0))
    while mission.coverage() < _SEEN and mission.world.now_s < _MOST_S:
        for _ in range(_CHECK_TICKS):
            mission.tick()
    return mission.world.now_s if mission.coverage() >= _SEEN else np.inf


def run() -> list[Figure]:
    """The figures."""
    seeds = int(os.environ.get("SEXTANT_SWARM_SEEDS", _SEEDS))
    cases = [(name, seed) for seed in range(seeds) for name in MAPS]
    led = [(name, seed) for seed in range(min(seeds, _LED_SEEDS)) for name in MAPS]
    with ProcessPoolExecutor() as pool:
        flown = dict(zip(cases, pool.map(fly, *zip(*cases, strict=True)), strict=True))
        led_s = dict(zip(led, pool.map(lead, *zip(*led, strict=True)), strict=True))
    return [_touches(flown), _coverage(flown, led_s), *_others(flown)]


def _touches(flown: dict[tuple[str, int], Flown]) -> Figure:
    touches = sum(len(flight.collisions) for flight in flown.values())
    gaps_m = {
        f"{name}, smallest gap in m": min(
            f.least_gap_m for (of, _), f in flown.items() if of == name
        )
        for name in MAPS
    }
    return Figure(
        name=f"collisions in {len(flown)} missions of {_DRONES} drones",
        measured=touches,
        unit="",
        bar="0",
        held=touches == 0,
        beside=gaps_m,
    )


def _coverage(flown: dict[tuple[str, int], Flown], led_s: dict[tuple[str, int], float]) -> Figure:
    """How much longer than with a chief, on the worst map; a mission that never did is infinite."""
    ratios = {}
    for name in MAPS:
        both = [
            (flown[case].time_to_95_s or np.inf, led_s[case]) for case in led_s if case[0] == name
        ]
        own_s, chief_s = (float(np.mean(times)) for times in zip(*both, strict=True))
        ratios[name] = own_s / chief_s
    worst = float(np.nan_to_num(max(ratios.values(), key=np.nan_to_num), nan=np.inf))
    return Figure(
        name="time to see 95%, over that with a chief, worst map",
        measured=worst,
        unit="",
        bar=str(_LONGER),
        held=all(np.isfinite(chief) for chief in led_s.values()) and bool(worst <= _LONGER),
        beside=ratios,
    )


def _others(flown: dict[tuple[str, int], Flown]) -> list[Figure]:
    flights = list(flown.values())
    found = sum(f.targets_found for f in flights) / sum(f.targets for f in flights)
    return [
        Figure(
            name="seconds to see 95%, median",
            measured=float(np.median([f.time_to_95_s or np.inf for f in flights])),
            unit="s",
        ),
        Figure(
            name="targets found",
            measured=found,
            unit="",
            beside={"false alarms a mission": float(np.mean([f.false_alarms for f in flights]))},
        ),
        Figure(
            name="a drone's tick, median",
            measured=float(np.median([f.loop_p50_s for f in flights])),
            unit="s",
        ),
    ]


def _grid(name: str) -> Grid:
    return read_map(needs("maps") / "movingai" / f"{name}.map", cell_m=1.0)


def _rule(seed: int, loss: float) -> MissionRule:
    return MissionRule(
        drones=_DRONES, loss_probability=loss, most_s=_MOST_S, world=WorldRule(seed=seed)
    )
