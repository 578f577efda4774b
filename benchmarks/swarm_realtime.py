"""Drones as processes in real time, twenty ticks a second; and how many this machine carries."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.bench import Figure, needs
from sextant.systems.swarm.mission.launch import Flight

_MAP, _DRONES, _LOSS, _MOST_S = "empty-48-48", 16, 0.05, 40.0
_FEWER, _MORE = (12, 8, 6, 4, 3, 2, 1), (20, 24, 28, 32)
_TICK_S, _MISSED, _CPU_S = 0.05, 0.001, 0.004


def fly(
    drones: int,
    *,
    name: str = _MAP,
    loss: float = _LOSS,
    seed: int | None = None,
    most_s: float = _MOST_S,
) -> dict[str, Any]:
    """One mission's figures; its seed is the number of drones if there is none."""
    map_file = needs("maps") / "movingai" / f"{name}.map"
    with tempfile.TemporaryDirectory(prefix="sextant-bench-") as folder:
        flight = Flight(
            map_file,
            Path(folder),
            cell_m=1.0,
            drones=drones,
            targets=6,
            loss=loss,
            seed=drones if seed is None else seed,
            most_s=most_s,
        )
        try:
            flight.start()
            return flight.watch(lambda _frame: None)
        finally:
            flight.close()


def keeps_up(flown: dict[str, Any]) -> bool:
    """Whether the loop was in time."""
    missed = flown["missed_deadlines"] / max(1, flown["ticks"])
    return bool(flown["loop_p99_s"] <= _TICK_S and missed <= _MISSED and not flown["lost_drones"])


def _carried(flown: dict[str, Any]) -> int:
    """How many drones keep up, from the mission of `_DRONES`; 0 if not even one does."""
    if not keeps_up(flown):
        return next((drones for drones in _FEWER if keeps_up(fly(drones))), 0)
    most = _DRONES
    for drones in _MORE:
        if not keeps_up(fly(drones)):
            break
        most = drones
    return most


def run() -> list[Figure]:
    """The figures."""
    flown = fly(_DRONES)
    most = _carried(flown)
    missed = flown["missed_deadlines"] / max(1, flown["ticks"])
    p99_s, cpu_s = flown["loop_p99_s"], flown["cpu_s_per_drone_tick"]
    return [
        Figure(
            name=f"loop of {_DRONES} drones, p99 of the slowest",
            measured=p99_s,
            unit="s",
            bar="50 ms",
            held=0.0 < p99_s <= _TICK_S,
            beside={"p50": flown["loop_p50_s"], **flown["stages_p50_s"]},
        ),
        Figure(
            name="missed deadlines, share of ticks",
            measured=missed,
            unit="",
            bar="0.001",
            held=flown["ticks"] > 0 and missed <= _MISSED,
            beside={"ticks": flown["ticks"]},
        ),
        Figure(
            name="processor a drone-tick, physics included",
            measured=cpu_s,
            unit="s",
            bar="4 ms",
            held=0.0 < cpu_s <= _CPU_S,
        ),
        Figure(
            name="touches in real time",
            measured=flown["collisions"],
            unit="",
            bar="0",
            held=not flown["collisions"],
        ),
        Figure(name="drones that this machine carries", measured=most, unit=""),
    ]
