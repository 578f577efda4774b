"""Ten missions of twelve drones in real time, each a process of its own, a fifth of all words lost:
nobody may touch anything.
"""

from __future__ import annotations

import os

from benchmarks.bench import Figure
from benchmarks.swarm_missions import MAPS
from benchmarks.swarm_realtime import fly

_SEEDS, _DRONES, _LOSS, _MOST_S = 2, 12, 0.2, 60.0


def run() -> list[Figure]:
    """The figures."""
    most_s = float(os.environ.get("SEXTANT_SWARM_LIVE_S", _MOST_S))
    flights = [
        fly(_DRONES, name=name, loss=_LOSS, seed=seed, most_s=most_s)
        for seed in range(_SEEDS)
        for name in MAPS
    ]
    touches = sum(one["collisions"] for one in flights)
    ticks = sum(one["ticks"] for one in flights)
    missed = sum(one["missed_deadlines"] for one in flights) / max(1, ticks)
    flown = all(one["ticks"] and not one["lost_drones"] for one in flights)
    return [
        Figure(
            name=f"collisions in {len(flights)} missions of {_DRONES} drones in real time",
            measured=touches,
            unit="",
            bar="0",
            held=touches == 0 and flown,
            beside={"smallest gap in m": min(one["min_separation_m"] for one in flights)},
        ),
        Figure(
            name="missed deadlines, share of ticks",
            measured=missed,
            unit="",
            beside={"ticks": ticks, "drones lost": sum(one["lost_drones"] for one in flights)},
        ),
        Figure(
            name="seen in the time, least",
            measured=min(one["coverage"] for one in flights),
            unit="",
        ),
    ]
