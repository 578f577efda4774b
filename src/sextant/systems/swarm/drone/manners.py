"""Who gives way where only one can pass: a total order, and nobody who keeps it.

A drone that does not get on says so, with its rank and the way that it wants to fly. Who stands on
that way and has a lower place in the order goes aside, to the nearest cell that is off the way, and
meanwhile has the rank of the one it makes room for, so that others make room for it in turn. Who
has waited long without getting on takes the last place for a while, so that two that cannot go
aside for each other do not wait for ever.
Source: Okumura et al. 2019, Priority inheritance with backtracking (PIBT).

Shape suffixes: C cells of the chart, W points of a way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sextant.systems.swarm.agreement.neighbours import Neighbour
from sextant.systems.swarm.drone.chart import Chart
from sextant.systems.swarm.drone.planner import Ways
from sextant.systems.swarm.world.grid import Floats

_NEAR_M = 6.0
_MOVED_M = 0.4
_BLOCKED_S = 0.8
_GIVE_UP_S = 4.0
_LAST_S = 5.0
_HOLD_S = 1.0
_LAST, _HELPS = 1000.0, 2000.0
_STEP = 1e-3
_BESIDE_M, _SLACK_M = 0.45, 0.15
"""So much farther than they must pass each other keeps who stands aside: hits of the wall beside it
may be of it, so who stands at the post of a door closes the door."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """What a drone says of its right of way, and where it goes aside to."""

    rank: float
    blocked: bool
    aside: int | None


class Manners:
    """One drone's part in it; `apart_m` is how far two drones' middles must pass each other."""

    def __init__(self, name: int, chart: Chart, apart_m: float) -> None:
        self._name, self._chart, self._apart_m = name, chart, apart_m
        self._from: tuple[float, Floats] | None = None
        self._last_until_s = -1.0
        self._aside: tuple[float, int] | None = None

    def settle(
        self,
        now_s: float,
        position_2: Floats,
        goal: int | None,
        ways: Ways,
        others: Sequence[Neighbour],
        *,
        helps: bool = False,
    ) -> Standing:
        """What to do now, wanting to get to `goal`; who only helps lets all pass who do not."""
        blocked = self._is_blocked(now_s, position_2, goal)
        own = float(self._name) + (_HELPS if helps else 0.0)
        own += _LAST if now_s < self._last_until_s else 0.0
        asking = [
            n
            for n in others
            if n.way_2 and n.rank < own and np.hypot(*(n.position_2 - position_2)) < _NEAR_M
            if self._is_lent(n.rank, len(others))
        ]
        ways_W2 = {n.name: _dense(n) for n in asking}
        inside = [n for n in asking if self._on(position_2, ways_W2[n.name])]
        if inside:
            aside = self._place(ways, np.concatenate(list(ways_W2.values())), others)
            first = min(n.rank for n in inside)
            if aside is not None:
                self._aside = (now_s + _HOLD_S, aside)
                return Standing(rank=first + _STEP, blocked=True, aside=aside)
        # A map that has changed may have closed the way there.
        if self._aside is not None and not np.isfinite(ways.metres_C[self._aside[1]]):
            self._aside = None
        if self._aside is not None and now_s < self._aside[0]:
            return Standing(rank=own, blocked=False, aside=self._aside[1])
        self._aside = None
        return Standing(rank=own, blocked=blocked, aside=None)

    def _is_lent(self, rank: float, others: int) -> bool:
        """Whether somebody else has this rank, and lent it from drone to drone to who says it.

        Two that make room for each other would lend it to and fro for ever, though whose it was has
        long passed or given it up: no rank is lent by more drones than there are.
        """
        lenders = round(rank % 1.0 / _STEP)
        return lenders <= others and int(rank) % int(_LAST) != self._name

    def _is_blocked(self, now_s: float, position_2: Floats, goal: int | None) -> bool:
        """Whether it wants to get somewhere and has not got on for a while."""
        if goal is None or self._from is None:
            self._from = (now_s, position_2)
            return False
        since_s, from_2 = self._from
        if np.hypot(*(position_2 - from_2)) > _MOVED_M:
            self._from = (now_s, position_2)
            return False
        if now_s - since_s > _GIVE_UP_S:
            self._last_until_s = now_s + _LAST_S
            self._from = (now_s, position_2)
        return now_s - since_s > _BLOCKED_S

    def _on(self, position_2: Floats, way_W2: Floats) -> bool:
        """Whether who stands here is in the way."""
        near_m = self._apart_m + _BESIDE_M - _SLACK_M
        return bool(np.hypot(*(way_W2 - position_2).T).min() < near_m)

    def _place(self, ways: Ways, way_W2: Floats, others: Sequence[Neighbour]) -> int | None:
        """The nearest cell off all ways where nobody is, well off them if there is one."""
        cells = np.flatnonzero(ways.metres_C < 2.0 * _NEAR_M)
        centres = self._chart.centres(cells)
        if others:
            cells = cells[
                _gaps_m(centres, np.stack([n.position_2 for n in others])) >= self._apart_m
            ]
        gaps_m = _gaps_m(self._chart.centres(cells), way_W2)
        for off in (cells[gaps_m >= self._apart_m + _BESIDE_M], cells[gaps_m >= self._apart_m]):
            if len(off):
                return int(off[ways.metres_C[off].argmin()])
        return None


def _gaps_m(points_C2: Floats, to_W2: Floats) -> Floats:
    """From each point to the nearest of others."""
    gaps_CW2 = points_C2[:, None] - to_W2[None]
    return np.asarray(np.hypot(gaps_CW2[..., 0], gaps_CW2[..., 1]).min(axis=1))


def _dense(neighbour: Neighbour) -> Floats:
    """A way as points that lie close together, from where its drone is."""
    corners = np.array([tuple(neighbour.position_2), *neighbour.way_2])
    steps = np.linspace(0.0, 1.0, 5)[1:, None]
    legs = [a + steps * (b - a) for a, b in pairwise(corners)]
    return np.concatenate([corners[:1], *legs])
