"""Missions of twelve drones on five maps, a fifth of all words lost: nobody may touch anything."""

from __future__ import annotations

import numpy as np

from benchmarks.bench import Figure, needs
from sextant.systems.swarm.mission.stepped import Flown, Mission, MissionRule
from sextant.systems.swarm.world.maps import read_map
from sextant.systems.swarm.world.world import WorldRule

_MAPS = ("empty-32-32", "random-32-32-10", "random-32-32-20", "maze-32-32-4", "room-32-32-8")
_SEEDS, _DRONES, _LOSS, _MOST_S = 20, 12, 0.2, 120.0


def fly(name: str, seed: int) -> Flown:
    """One mission."""
    grid = read_map(needs("maps") / "movingai" / f"{name}.map", cell_m=1.0)
    rule = MissionRule(
        drones=_DRONES, loss_probability=_LOSS, most_s=_MOST_S, world=WorldRule(seed=seed)
    )
    return Mission(grid, rule).fly()


def run() -> list[Figure]:
    """The figures."""
    flown = {(name, seed): fly(name, seed) for seed in range(_SEEDS) for name in _MAPS}
    touches = sum(len(flight.collisions) for flight in flown.values())
    return [
        Figure(
            name=f"collisions in {len(flown)} missions of {_DRONES} drones",
            measured=touches,
            unit="",
            bar="0",
            held=touches == 0,
            beside={
                f"{name}, smallest gap in m": min(
                    flight.least_gap_m for (of, _), flight in flown.items() if of == name
                )
                for name in _MAPS
            },
        ),
        Figure(
            name="seconds to see 95%, median of the missions that did",
            measured=float(
                np.median([f.time_to_95_s for f in flown.values() if f.time_to_95_s] or [np.inf])
            ),
            unit="s",
            beside={
                f"{name}, share of missions": float(
                    np.mean(
                        [f.time_to_95_s is not None for (of, _), f in flown.items() if of == name]
                    )
                )
                for name in _MAPS
            },
        ),
        Figure(
            name="targets found",
            measured=sum(f.targets_found for f in flown.values())
            / sum(f.targets for f in flown.values()),
            unit="",
            beside={
                "false alarms a mission": float(np.mean([f.false_alarms for f in flown.values()]))
            },
        ),
        Figure(
            name="a drone's tick, median",
            measured=float(np.median([f.loop_p50_s for f in flown.values()])),
            unit="s",
        ),
    ]
