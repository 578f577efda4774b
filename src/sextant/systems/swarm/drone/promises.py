"""How fast a drone says that it will fly at most, so that others need not fear the worst of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from sextant.systems.swarm.agreement.neighbours import PROMISE_S, Neighbour, nearest_m
from sextant.systems.swarm.drone.safety import SafetyRule
from sextant.systems.swarm.world.grid import Floats

_SHARE = 0.3
_LEAST_M_S = 0.8
_SPARE_M_S = 0.2


class Promises:
    """The promises of one drone. It keeps to the lowest that somebody may still count on."""

    def __init__(self, rule: SafetyRule) -> None:
        self._rule = rule
        self._given: deque[tuple[float, float]] = deque()

    def limit_m_s(self, now_s: float) -> float:
        """The highest speed that breaks no promise."""
        while self._given and self._given[0][0] <= now_s:
            self._given.popleft()
        return min((speed for _, speed in self._given), default=self._rule.speed_m_s)

    def give(
        self, now_s: float, position_2: Floats, speed_m_s: float, others: Iterable[Neighbour]
    ) -> float:
        """The speed to promise now: lower the nearer others are, but one that can be kept.

        A share of the gap to the nearest is what the way to a stop may take.
        """
        gap_m = nearest_m(position_2, others) - 2.0 * self._rule.radius_m
        wish = self._rule.speed_to_stop_in(_SHARE * gap_m)
        least = max(_LEAST_M_S, min(speed_m_s, self.limit_m_s(now_s)) + _SPARE_M_S)
        promise = min(max(wish, least), self._rule.speed_m_s)
        self._given.append((now_s + PROMISE_S, promise))
        return promise
