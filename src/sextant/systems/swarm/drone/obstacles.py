"""What stands or flies near a drone: its own recent range hits, and its neighbours' words.

Shape suffixes: R rays, M things that stand, L things that may move.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np

from sextant.systems.swarm.agreement.neighbours import Neighbour
from sextant.systems.swarm.drone.safety import Bounds, SafetyRule
from sextant.systems.swarm.world.grid import Floats
from sextant.systems.swarm.world.rays import fan
from sextant.systems.swarm.world.sensors import Readings, SensorRule

_SECTORS = 120
_MEMORY_S = 1.5
_FRESH_S = 0.5
_HEED_M = 5.0
_SAME_M = 0.12
_PUSH_PER_S = 5.0
_STRIDE = 1 << 20


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
        """What the drone's way to a stop may not touch."""
        standing_M2, moving_L2 = self._hits(now_s)
        error_m = 3.0 * self._sensors.range_noise_m
        hull_m = self._rule.radius_m + self._rule.margin_m + error_m
        far_M = np.hypot(*standing_M2.T)
        far_L = np.hypot(*moving_L2.T)
        words = [word for n in neighbours if (word := self._neighbour(position_2, n, now_s))]
        halves_L = np.maximum(0.5 * (far_L - hull_m), 0.0)
        return Bounds(
            points_M2=standing_M2,
            # Who is too near already may not come nearer, but may leave.
            hulls_M=np.minimum(hull_m, far_M - 1e-3),
            ways_L2=np.concatenate([_unit(moving_L2), *(way[None] for way, _ in words)]),
            gaps_L=np.concatenate([halves_L, np.array([gap for _, gap in words])]),
            push_2=_push(np.concatenate([standing_M2, moving_L2]), hull_m),
        )

    def _hits(self, now_s: float) -> tuple[Floats, Floats]:
        """What was hit near by: what stands (it stood there before too), and what may be moving."""
        none = np.empty((0, 2))
        fresh = [hits for at_s, hits in self._scans if now_s - at_s <= _FRESH_S]
        old = [hits for at_s, hits in self._scans if now_s - at_s > _FRESH_S]
        fresh_M2, old_M2 = np.concatenate([none, *fresh]), np.concatenate([none, *old])
        stood_M = np.isin(_squares(fresh_M2), _around(_squares(old_M2)))
        # Before there is a past to compare with, nothing is taken to be moving.
        stood_M |= not len(old_M2)
        standing_M2 = np.concatenate([fresh_M2[stood_M], old_M2]) - self._moved_2
        return _nearest_a_sector(standing_M2), _nearest_a_sector(fresh_M2[~stood_M] - self._moved_2)

    def _neighbour(
        self, position_2: Floats, neighbour: Neighbour, now_s: float
    ) -> tuple[Floats, float] | None:
        """The way to a neighbour and half of the gap; it may have come nearer since it spoke, by as
        much as its limits allow.
        """
        offset_2 = neighbour.position_2 - position_2
        far_m = float(np.hypot(*offset_2))
        age_s = max(0.0, now_s - neighbour.at_s)
        if far_m > _HEED_M + self._rule.speed_m_s * age_s:
            return None
        towards = -float(neighbour.velocity_2 @ offset_2) / max(far_m, 1e-9)
        gained = towards * age_s + 0.5 * self._rule.brake_m_s2 * age_s**2
        nearer_m = float(np.clip(gained, 0.0, self._rule.speed_m_s * age_s))
        hulls_m = 2.0 * (self._rule.radius_m + self._rule.margin_m)
        error_m = 2.0 * self._sensors.position_error_m
        return _unit(offset_2[None])[0], max(0.5 * (far_m - hulls_m - error_m - nearer_m), 0.0)


def _push(offsets_N2: Floats, hull_m: float) -> Floats:
    """Away from everything that is nearer than the hull, faster the nearer it is."""
    depth_N = np.maximum(hull_m - np.hypot(*offsets_N2.T), 0.0)
    if not depth_N.any():
        return np.zeros(2)
    way_2 = -(_unit(offsets_N2) * depth_N[:, None]).sum(axis=0)
    return np.asarray(_unit(way_2[None])[0] * depth_N.max() * _PUSH_PER_S)


def _unit(vectors_N2: Floats) -> Floats:
    return np.asarray(vectors_N2 / np.maximum(np.hypot(*vectors_N2.T), 1e-9)[:, None])


def _squares(points_N2: Floats) -> np.ndarray:
    """The numbers of the small squares that points lie in."""
    at = np.floor(points_N2 / _SAME_M).astype(np.int64)
    return np.asarray(at[:, 0] * _STRIDE + at[:, 1])


def _around(squares: np.ndarray) -> np.ndarray:
    """Those squares and the ones that touch them."""
    steps = [across * _STRIDE + up for across in (-1, 0, 1) for up in (-1, 0, 1)]
    once = np.unique(squares)
    return np.concatenate([once + step for step in steps])


def _nearest_a_sector(offsets_M2: Floats) -> Floats:
    """The nearest in each direction; the others hide behind it."""
    sector_M = np.arctan2(offsets_M2[:, 1], offsets_M2[:, 0]) / (2 * np.pi) * _SECTORS
    far_M = np.hypot(*offsets_M2.T)
    order = np.lexsort((far_M, np.floor(sector_M)))
    first = np.ones(len(order), np.bool_)
    first[1:] = np.floor(sector_M[order][1:]) != np.floor(sector_M[order][:-1])
    return np.asarray(offsets_M2[order[first & (far_M[order] < _HEED_M)]])
