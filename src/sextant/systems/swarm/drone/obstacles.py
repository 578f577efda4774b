"""What stands or flies near a drone: its own recent range hits, and its neighbours' words.

Shape suffixes: R rays, M obstacles.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np

from sextant.systems.swarm.agreement.neighbours import Neighbour
from sextant.systems.swarm.drone.safety import Bounds, SafetyRule, bounds_of
from sextant.systems.swarm.world.grid import Floats
from sextant.systems.swarm.world.rays import fan
from sextant.systems.swarm.world.sensors import Readings, SensorRule

_SECTORS = 72
_MEMORY_S = 1.5
_FRESH_S = 0.16
_FRESH_SHARE = 0.5
_HEED_M = 5.0


class Obstacles:
    """Hits of the last scans, moved along by dead reckoning; a few seconds of it are exact enough.

    A hit of the last scans may be another drone; one that is older was not, or it has moved on.
    """

    def __init__(self, rule: SafetyRule, sensors: SensorRule) -> None:
        self._rule, self._sensors = rule, sensors
        self._scans: deque[tuple[float, Floats]] = deque()
        self._moved_2 = np.zeros(2)
        self._at_s: float | None = None

    def take(self, readings: Readings) -> None:
        """Take in a scan."""
        if self._at_s is not None:
            self._moved_2 = self._moved_2 + readings.velocity_2 * (readings.at_s - self._at_s)
        self._at_s = readings.at_s
        hit_R = np.isfinite(readings.ranges_R)
        ways_R2 = fan(len(readings.ranges_R), readings.turn)[hit_R]
        hits_M2 = self._moved_2 + ways_R2 * readings.ranges_R[hit_R, None]
        self._scans.append((readings.at_s, hits_M2))
        while self._scans[0][0] < readings.at_s - _MEMORY_S:
            self._scans.popleft()

    def bounds(self, position_2: Floats, neighbours: Iterable[Neighbour], now_s: float) -> Bounds:
        """What the drone's velocity may not exceed towards each obstacle."""
        parts = [self._hits(now_s), *(self._neighbour(position_2, n, now_s) for n in neighbours)]
        ways = np.concatenate([part.ways_M2 for part in parts])
        return Bounds(ways_M2=ways, speeds_M=np.concatenate([part.speeds_M for part in parts]))

    def _hits(self, now_s: float) -> Bounds:
        fresh = [hits for at_s, hits in self._scans if now_s - at_s <= _FRESH_S]
        old = [hits for at_s, hits in self._scans if now_s - at_s > _FRESH_S]
        error_m = 3.0 * self._sensors.range_noise_m
        offsets_M2 = np.concatenate([np.empty((0, 2)), *fresh, *old]) - self._moved_2
        num_fresh = sum(map(len, fresh))
        share_M = np.where(np.arange(len(offsets_M2)) < num_fresh, _FRESH_SHARE, 1.0)
        gaps_M = np.hypot(*offsets_M2.T) - self._rule.radius_m - self._rule.margin_m - error_m
        kept = _nearest_a_sector(offsets_M2, gaps_M * share_M)
        return bounds_of(offsets_M2[kept], gaps_M[kept], share_M[kept], self._rule)

    def _neighbour(self, position_2: Floats, neighbour: Neighbour, now_s: float) -> Bounds:
        """A neighbour may have come nearer since it spoke, by as much as its limits allow."""
        offset_2 = neighbour.position_2 - position_2
        far_m = float(np.hypot(*offset_2))
        age_s = max(0.0, now_s - neighbour.at_s)
        if far_m > _HEED_M + self._rule.speed_m_s * age_s:
            return Bounds(ways_M2=np.empty((0, 2)), speeds_M=np.empty(0))
        towards = -float(neighbour.velocity_2 @ offset_2) / max(far_m, 1e-9)
        gained = towards * age_s + 0.5 * self._rule.brake_m_s2 * age_s**2
        nearer_m = float(np.clip(gained, 0.0, self._rule.speed_m_s * age_s))
        error_m = 2.0 * self._sensors.position_error_m
        hulls_m = 2.0 * self._rule.radius_m + 2.0 * self._rule.margin_m
        gap = np.array([far_m - hulls_m - error_m - nearer_m])
        return bounds_of(offset_2[None], gap, np.array([0.5]), self._rule)


def _nearest_a_sector(offsets_M2: Floats, gaps_M: Floats) -> np.ndarray:
    """The obstacle with the least gap in each direction; the others bound nothing more."""
    sector_M = (np.arctan2(offsets_M2[:, 1], offsets_M2[:, 0]) / (2 * np.pi) * _SECTORS).astype(int)
    order = np.lexsort((gaps_M, sector_M))
    first = np.ones(len(order), np.bool_)
    first[1:] = sector_M[order][1:] != sector_M[order][:-1]
    return np.asarray(order[first & (gaps_M[order] < _HEED_M)])
