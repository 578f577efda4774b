"""The longest round trip to a brain that a control loop stands, by bisection in one flight."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from sextant.errors import EngineError
from sextant.systems.swarm.mission.launch import Flight

_LOOK_S = 0.02
_READY_S = 120.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """How to look for it.

    Attributes:
        period_s: of the loop.
        highest_s: a round trip that is certainly too long.
        steps: halvings.
        probe_ticks: of each drone, for each round trip that is tried.
        settle_ticks: before them, on a near link and on the one that is tried.
        tolerated: the share of the ticks that may come too late.
    """

    period_s: float
    highest_s: float
    steps: int = 7
    probe_ticks: int = 40
    settle_ticks: int = 5
    tolerated: float = 0.1


def bisect(missed_share: Callable[[float], float], search: Search) -> tuple[float, float] | None:
    """The longest round trip that was in time and the shortest that was not.

    None where not even a brain at no distance is in time.
    """
    if missed_share(0.0) > search.tolerated:
        return None
    low_s, high_s = 0.0, search.highest_s
    for _ in range(search.steps):
        middle_s = 0.5 * (low_s + high_s)
        if missed_share(middle_s) > search.tolerated:
            high_s = middle_s
        else:
            low_s = middle_s
    return low_s, high_s


def break_even(flight: Flight, search: Search) -> tuple[float, float] | None:
    """The same, measured on drones that fly; they hover for as long as a brain is too far.

    Raises:
        EngineError: the drones do not tick.
    """

    def missed_share(round_trip_s: float) -> float:
        flight.shape(0.0)
        _after(flight, search.settle_ticks, search.period_s)
        flight.shape(round_trip_s)
        ticks = search.settle_ticks + math.ceil(round_trip_s / search.period_s)
        _after(flight, ticks, search.period_s)
        before = flight.counts()
        after = _after(flight, search.probe_ticks, search.period_s)
        num_ticks = sum(after[name][0] - before[name][0] for name in before)
        missed = sum(after[name][1] - before[name][1] for name in before)
        return missed / max(1, num_ticks)

    await_ticks(flight, lambda counts: len(counts) == flight.drones, _READY_S)
    return bisect(missed_share, search)


def await_ticks(
    flight: Flight, there: Callable[[dict[int, tuple[int, int]]], bool], within_s: float
) -> dict[int, tuple[int, int]]:
    """Wait until the drones' counts of ticks are as wanted.

    Raises:
        EngineError: they are not in time.
    """
    until_s = time.monotonic() + within_s
    while not there(counts := flight.counts()):
        if time.monotonic() > until_s:
            raise EngineError("the drones do not tick")
        time.sleep(_LOOK_S)
    return counts


def _after(flight: Flight, ticks: int, period_s: float) -> dict[int, tuple[int, int]]:
    """The counts once every drone has had so many ticks more."""
    before = flight.counts()
    return await_ticks(
        flight,
        lambda counts: all(counts[name][0] >= before[name][0] + ticks for name in before),
        _READY_S + 4.0 * ticks * period_s,
    )
