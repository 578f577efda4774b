"""Onboard, edge or cloud, measured: one mission flown three ways, how far away a brain may be, and
what stops when it fails.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sextant.errors import EngineError
from sextant.plan.budget import LoopFacts, judge
from sextant.systems.swarm.mission.launch import Flight
from sextant.systems.swarm.mission.orders import LinkOrders
from sextant.systems.swarm.placement.bisect import Search, break_even

EDGE_S, CLOUD_S = 0.008, (0.05, 0.1)
"""Round trips of the textbook: to an edge server, and to a cloud from the best to the usual."""
LOOPS = (
    Search(period_s=0.05, highest_s=0.1),
    Search(period_s=2.0, highest_s=3.0, steps=5, probe_ticks=2, settle_ticks=1),
)
_LOST_PERIODS = 12.0
_LOST_S = 10.0
_STILL_M_S = 0.1
_LOOK_S = 0.1
_WAIT_S = 120.0
_GROWTH = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Ground:
    """Where and what to fly; `seconds` is how long each of the three missions may take."""

    map_file: Path
    cell_m: float | None
    drones: int = 3
    targets: int = 4
    seed: int = 0
    loss: float = 0.0
    seconds: float = 30.0

    def flight(
        self,
        folder: Path,
        link: LinkOrders | None,
        *,
        period_s: float = 0.05,
        most_s: float | None = None,
        lost_link_s: float | None = None,
    ) -> Flight:
        """A flight on it."""
        folder.mkdir(parents=True)
        return Flight(
            self.map_file,
            folder,
            cell_m=self.cell_m,
            drones=self.drones,
            targets=self.targets,
            loss=self.loss if link is None else 0.0,
            seed=self.seed,
            most_s=most_s or self.seconds,
            period_s=period_s,
            link=link,
            lost_link_s=lost_link_s or max(_LOST_S, _LOST_PERIODS * period_s),
        )


def field(path: Path, side: int, every: int = 6) -> Path:
    """A map of our own: an open square with a pillar here and there."""
    rows = [
        "".join("@" if x % every == every // 2 and y % every == every // 2 else "." for x in cells)
        for y, cells in enumerate([range(side)] * side)
    ]
    path.write_text(f"type octile\nheight {side}\nwidth {side}\nmap\n" + "\n".join(rows) + "\n")
    return path


def placements(ground: Ground, folder: Path, told: Callable[[str], None]) -> dict[str, Any]:
    """The same mission with the brain on board, at an edge server and in a cloud."""
    trips_s = {"onboard": None, "edge": EDGE_S, "cloud": float(np.mean(CLOUD_S))}
    found = {}
    for name, trip_s in trips_s.items():
        told(f"{name}: one mission")
        link = None
        if trip_s is not None:
            link = LinkOrders(round_trip_s=trip_s, loss_probability=ground.loss)
        flight = ground.flight(folder / name, link)
        try:
            flight.start()
            found[name] = {"round_trip_s": trip_s, **flight.watch(lambda _frame: None)}
            one = found[name]
            missed = f"{one['missed_deadlines']} of {one['ticks']} missed"
            told(f"  {missed}, {one['coverage']:.2f} seen")
        finally:
            flight.close()
    return found


def break_evens(
    ground: Ground,
    folder: Path,
    stages_s: dict[str, float],
    told: Callable[[str], None],
    loops: tuple[Search, ...] = LOOPS,
) -> list[dict[str, Any]]:
    """For each loop the longest round trip that is in time, beside the plan's arithmetic.

    Args:
        ground: where to fly.
        folder: for the flights' files.
        stages_s: what perceiving and deciding take on this machine, by stage.
        told: hears what is being done.
        loops: the loops.
    """
    perceive_s = stages_s["perceive"]
    decide_s = sum(stages_s.values()) - perceive_s
    rows = []
    for search in loops:
        told(f"a loop of {search.period_s:g} s: the longest round trip")
        name = f"loop-{search.period_s:g}"
        flight = ground.flight(folder / name, LinkOrders(), period_s=search.period_s, most_s=600.0)
        try:
            flight.start()
            measured = break_even(flight, search)
            told(f"  between {measured}" if measured else "  none is in time")
        finally:
            flight.close()
        rows.append(
            break_even_row(search, measured, ground.drones * perceive_s, ground.drones * decide_s)
        )
    return rows


def break_even_row(
    search: Search, measured: tuple[float, float] | None, perceive_s: float, decide_s: float
) -> dict[str, Any]:
    """One loop: measured beside predicted, one brain thinking for all drones in turn."""

    def place(round_trip_s: float) -> dict[str, Any]:
        facts = {"period_s": search.period_s, "round_trip_s": round_trip_s}
        answer = judge(LoopFacts(**facts, perceive_s=perceive_s, decide_s=decide_s))
        return {
            "round_trip_s": round_trip_s,
            "left_to_perceive_and_plan_s": judge(LoopFacts(**facts)).left_s,
            "predicted_in_time": answer.fits,
            "measured_in_time": measured is not None and round_trip_s <= measured[0],
        }

    plan = judge(
        LoopFacts(
            period_s=search.period_s, round_trip_s=0.0, perceive_s=perceive_s, decide_s=decide_s
        )
    )
    return {
        "period_s": search.period_s,
        "measured_s": None if measured is None else measured[0],
        "measured_below_s": None if measured is None else measured[1],
        "predicted_s": plan.break_even_round_trip_s,
        "perceive_s": perceive_s,
        "decide_s": decide_s,
        "edge": place(EDGE_S),
        "cloud": [place(trip_s) for trip_s in CLOUD_S],
    }


def single_point(ground: Ground, folder: Path, told: Callable[[str], None]) -> dict[str, Any]:
    """The brain is killed in flight, and a drone where all decide on board."""
    told("killing the brain")
    return {
        "brain": _kill(ground, folder / "kill-brain", "brain", told),
        "drone": _kill(ground, folder / "kill-drone", "drone-0", told),
    }


def _kill(ground: Ground, folder: Path, victim: str, told: Callable[[str], None]) -> dict[str, Any]:
    link = LinkOrders(round_trip_s=EDGE_S) if victim == "brain" else None
    flight = ground.flight(folder, link, most_s=600.0)
    try:
        flight.start()
        _await(lambda: flight.coverage() >= _GROWTH, "the mission does not begin")
        before, at_s = flight.coverage(), _now_s(flight)
        told(f"  {victim} at {before:.2f} seen")
        flight.kill(victim)
        if link is None:
            # The one that was killed comes down; the others go on.
            _await(
                lambda: flight.coverage() >= min(0.95, before + 2 * _GROWTH) or not _flying(flight),
                "the mission does not go on",
            )
            stopped_s = None
        else:
            stopped_s = _stopped_s(flight) - at_s
            _await(lambda: not _flying(flight), "they do not come down")
        return {
            "killed_at_s": at_s,
            "all_stopped_after_s": stopped_s,
            "coverage_when_killed": round(before, 4),
            "coverage_in_the_end": round(flight.coverage(), 4),
            "flying_in_the_end": _flying(flight),
            "collisions": (flight.truth() or {}).get("collisions"),
        }
    finally:
        flight.close()


def _stopped_s(flight: Flight) -> float:
    """When, in the mission's time, no drone moved any more."""
    last: list[tuple[float, Any]] = []

    def still() -> bool:
        truth = flight.truth()
        assert truth is not None
        if last and truth["at_s"] - last[-1][0] < _LOOK_S:
            return False
        last.append((truth["at_s"], np.array(truth["positions"])))
        if len(last) < 2:
            return False
        (from_s, before_N2), (to_s, after_N2) = last[-2:]
        moved_m = float(np.hypot(*(after_N2 - before_N2).T).max())
        return moved_m < _STILL_M_S * (to_s - from_s)

    _await(still, "they do not stop")
    return last[-2][0]


def _now_s(flight: Flight) -> float:
    return float((flight.truth() or {"at_s": 0.0})["at_s"])


def _flying(flight: Flight) -> int:
    if flight.processes["world"].poll() is not None:
        # The physics ends with the last landing, and tells nothing more.
        return 0
    truth = flight.truth()
    return flight.drones if truth is None else sum(truth["flying"])


def _await(there: Callable[[], bool], else_said: str) -> None:
    until_s = time.monotonic() + _WAIT_S
    while not there():
        if time.monotonic() > until_s:
            raise EngineError(else_said)
        time.sleep(_LOOK_S)
