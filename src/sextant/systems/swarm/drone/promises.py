"""How a drone says that it will fly, so that others need not fear the worst of it.

A promise is a disk of velocities. Until it ends the drone's setpoints are in it, or parts of what
is in it. Such parts are a convex set with zero in it, so on its way from one setpoint to the next,
or to a stop, the velocity stays in the set. A new promise holds the velocity and the setpoint of
now, and the drone keeps to all that somebody may still count on, so it does not matter which of
them was heard.

Shape suffixes: L others that are near, V disks to choose from.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import hypot

import numpy as np

from sextant.systems.swarm.agreement.neighbours import PROMISE_S, Neighbour, Promise
from sextant.systems.swarm.drone.safety import SafetyRule
from sextant.systems.swarm.world.grid import Floats

_SHARE = 0.3
"""Of the gap to each other."""
_SPARE_M_S = 0.4
_LEAST_M_S = 0.9
_FAR_M = 5.0
"""How far a disk reaches at least beyond how the drone flies, and how wide it is at least: the
narrower, the less others fear; but who may not change its velocity cannot go round them either.
The spare is also what the setpoint before may still add, in a period of 0.05 s at 8 m/s2.
"""
_VEERS = (3.0, 2.2, 1.6, 1.2)


class Promises:
    """The promises of one drone."""

    def __init__(self, rule: SafetyRule) -> None:
        self._rule = rule
        self._given: deque[tuple[float, Promise]] = deque()

    def given(self, now_s: float) -> list[Promise]:
        """Those that still count."""
        while self._given and self._given[0][0] <= now_s:
            self._given.popleft()
        return [promise for _, promise in self._given]

    def give(
        self,
        now_s: float,
        position_2: Floats,
        flies: tuple[Floats, Floats, Floats],
        others: Iterable[Neighbour],
    ) -> Promise:
        """What to promise now: the less, the nearer others are where it may lead.

        A share of the gap to each is what the way to a stop may take. Always in it is how the drone
        flies.

        Args:
            now_s: the time.
            position_2: where it believes to be.
            flies: its velocity, its setpoint, and its wish.
            others: who is to count on it.
        """
        offsets_L2 = np.array([n.position_2.tolist() for n in others]).reshape(-1, 2) - position_2
        far_L = np.hypot(offsets_L2[:, 0], offsets_L2[:, 1])
        near = far_L < _FAR_M
        ways_L2 = offsets_L2[near] / np.maximum(far_L[near], 1e-9)[:, None]
        share_L = _SHARE * (far_L[near] - 2.0 * self._rule.radius_m)
        velocity_2, setpoint_2, wish_2 = flies
        middle_2 = 0.5 * (velocity_2 + setpoint_2)
        spread_m_s = 0.5 * hypot(*(velocity_2 - setpoint_2).tolist()) + _SPARE_M_S
        further_2 = wish_2 - middle_2
        further_m_s = hypot(*further_2.tolist())
        least_m_s = max(spread_m_s, _LEAST_M_S)
        # The disk reaches as far towards the wish as it can and still hold both.
        veers_V = np.array([*(veer for veer in _VEERS if veer > least_m_s), least_m_s])
        room_V = np.minimum(veers_V - spread_m_s, further_m_s)
        courses_V2 = middle_2 + room_V[:, None] * further_2 / max(further_m_s, 1e-9)
        reach_VL = self._rule.reach_m(courses_V2[:, None], veers_V[:, None], ways_L2)
        fits_V = np.asarray((reach_VL <= share_L).all(axis=1))
        best = int(fits_V.argmax()) if fits_V.any() else len(veers_V) - 1
        x, y = courses_V2[best].tolist()
        promise = Promise(course=(x, y), veer_m_s=float(veers_V[best]))
        self._given.append((now_s + PROMISE_S, promise))
        return promise
