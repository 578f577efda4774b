"""What stands or flies near a drone: its own recent range hits, and its neighbours' words.

Shape suffixes: K velocities, R rays, M things that stand, L things that may move, N points.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sextant.systems.swarm.agreement.neighbours import Neighbour
from sextant.systems.swarm.drone.safety import Bounds, SafetyRule
from sextant.systems.swarm.world.grid import Bools, Floats
from sextant.systems.swarm.world.rays import fan
from sextant.systems.swarm.world.sensors import Readings, SensorRule

_SECTORS = 120
_MEMORY_S = 1.5
_STOOD_S = 0.4
_NOW_S = 0.11
_HEED_M = 5.0
_SAME_M = 0.12
_PUSH_PER_S = 5.0
_LEAST_SPARE_M = 0.02
_STRIDE = 1 << 20
_AROUND = tuple(across * _STRIDE + up for across in (-1, 0, 1) for up in (-1, 0, 1))


@dataclass(frozen=True, kw_only=True, slots=True)
class Scan:
    """The hits of one scan, where dead reckoning puts them.

    Attributes:
        at_s: when.
        hits_N2: in a frame that stands still.
        drone_N: they may be of a known drone.
        stands_N: something stood there before.
        squares: the small squares of those that are of no known drone.
    """

    at_s: float
    hits_N2: Floats
    drone_N: Bools
    stands_N: Bools
    squares: list[int]


class Obstacles:
    """Hits of the last scans, moved along by dead reckoning; a few seconds of it are exact enough.

    A hit near a place that a neighbour speaks of is that neighbour, and is heeded by what it
    promised. Another hit is a wall where something stood a while ago, and else a stranger who may
    fly as fast as anybody can.
    """

    def __init__(self, rule: SafetyRule, sensors: SensorRule) -> None:
        self._rule, self._sensors = rule, sensors
        self._young: deque[Scan] = deque()
        self._old: deque[Scan] = deque()
        self._stood: Counter[int] = Counter()
        self._moved_2 = np.zeros(2)
        self._at_s: float | None = None
        self._hull_m = rule.radius_m + rule.margin_m + 3.0 * sensors.range_noise_m

    def take(self, readings: Readings, neighbours: Sequence[Neighbour] = ()) -> None:
        """Take in a scan; `neighbours` are the last words of those who fly."""
        now_s = readings.at_s
        if self._at_s is not None:
            self._moved_2 = self._moved_2 + readings.velocity_2 * (now_s - self._at_s)
        self._at_s = now_s
        self._age(now_s)
        hit_R = np.isfinite(readings.ranges_R)
        ways_R2 = fan(len(readings.ranges_R), readings.turn)[hit_R]
        offsets_N2 = ways_R2 * readings.ranges_R[hit_R, None]
        whose_NB = self._whose(offsets_N2, neighbours, readings.position_2, now_s)
        drone_N = np.asarray(whose_NB.any(axis=1))
        hits_N2 = self._moved_2 + offsets_N2
        squares = _squares(hits_N2).tolist()
        # Before there is a past to compare with, nothing is taken to be moving.
        first = not self._old
        stands = [first or any(q + step in self._stood for step in _AROUND) for q in squares]
        self._young.append(
            Scan(
                at_s=now_s,
                hits_N2=hits_N2,
                drone_N=drone_N,
                stands_N=np.array(stands, np.bool_),
                squares=[q for q, of_drone in zip(squares, drone_N, strict=True) if not of_drone],
            )
        )

    def bounds(
        self,
        position_2: Floats,
        going_K2: Floats,
        neighbours: Sequence[Neighbour],
        now_s: float,
    ) -> Bounds:
        """What the drone's way to a stop may not touch.

        Args:
            position_2: where it believes to be.
            going_K2: its velocity, and the last setpoint.
            neighbours: the last words of those who fly.
            now_s: the time.
        """
        walls_M2, strangers_N2 = self._unknown(now_s)
        # Movers as offsets to the nearest that they may be, less the hulls, and their speeds.
        told = self._known(position_2, neighbours, now_s)
        offsets_L2 = np.concatenate([strangers_N2, *(offsets for offsets, _, _ in told)])
        less_L = np.full(len(offsets_L2), self._hull_m + self._rule.margin_m)
        fast_L = np.full(len(offsets_L2), self._rule.speed_m_s)
        at = len(strangers_N2)
        for offsets, less_m, fast_m_s in told:
            less_L[at : at + len(offsets)] = less_m
            fast_L[at : at + len(offsets)] = fast_m_s
            at += len(offsets)
        ways_L2 = _unit(offsets_L2)
        gaps_L = np.hypot(*offsets_L2.T) - less_L
        reach_L = self._rule.stopping_m(fast_L)
        own_L = self._rule.extents_m(going_K2, ways_L2).max(axis=0, initial=0.0)
        near_N2 = np.concatenate([walls_M2, ways_L2 * (gaps_L + self._hull_m)[:, None]])
        return Bounds(
            points_M2=walls_M2,
            hulls_M=self._hulls(np.hypot(*walls_M2.T)),
            ways_L2=ways_L2,
            gaps_L=np.maximum(0.5 * (gaps_L + own_L - reach_L), 0.0),
            push_2=_push(near_N2, self._hull_m),
            over_m=float((own_L + reach_L - gaps_L).max(initial=-np.inf, where=own_L > 0)),
        )

    def _hulls(self, far_M: Floats) -> Floats:
        """How near the way may come to each wall.

        Who is too near already may not come nearer, but may leave, or go on along the wall: the
        margin is what it is there for. In a narrow corridor the middle is hardly far enough.
        """
        least_m = self._rule.radius_m + 3.0 * self._sensors.range_noise_m + _LEAST_SPARE_M
        hull_m = float(np.clip(far_M.min(initial=np.inf), least_m, self._hull_m))
        return np.minimum(hull_m, far_M) - 1e-3

    def _age(self, now_s: float) -> None:
        while self._young and now_s - self._young[0].at_s > _STOOD_S:
            scan = self._young.popleft()
            self._old.append(scan)
            self._stood.update(scan.squares)
        while self._old and now_s - self._old[0].at_s > _MEMORY_S:
            self._stood.subtract(self._old.popleft().squares)
            self._stood = +self._stood

    def _unknown(self, now_s: float) -> tuple[Floats, Floats]:
        """Offsets of walls, and of strangers: hits of now that are not where something stood."""
        old = [s.hits_N2[~s.drone_N] for s in self._old]
        young = [s.hits_N2[s.stands_N & ~s.drone_N] for s in self._young]
        now = [s for s in self._young if now_s - s.at_s <= _NOW_S]
        strange = [s.hits_N2[~(s.stands_N | s.drone_N)] for s in now]
        walls_N2 = np.concatenate([_NONE, *old, *young]) - self._moved_2
        strangers_N2 = np.concatenate([_NONE, *strange]) - self._moved_2
        return _nearest_a_sector(walls_N2), _nearest_a_sector(strangers_N2)

    def _known(
        self, position_2: Floats, neighbours: Sequence[Neighbour], now_s: float
    ) -> list[tuple[Floats, float, float]]:
        """Offsets of each neighbour, what hulls and errors take of them, and how fast it is.

        By what the own rays hit of it; by its word alone where they hit nothing, or where it says
        more. Then it may have come nearer since, and both may err on where they are.
        """
        hits = [s.hits_N2[s.drone_N] for s in self._young if now_s - s.at_s <= _NOW_S]
        offsets_N2 = np.concatenate([_NONE, *hits]) - self._moved_2
        whose_NB = self._whose(offsets_N2, neighbours, position_2, now_s)
        far_N = np.hypot(*offsets_N2.T)
        hulls_m = 2.0 * (self._rule.radius_m + self._rule.margin_m + self._sensors.position_error_m)
        movers = []
        for column, other in enumerate(neighbours):
            fast_m_s = other.fastest(now_s, self._rule.speed_m_s)
            less_m = hulls_m + fast_m_s * max(0.0, now_s - other.at_s)
            offset_2 = other.position_2 - position_2
            told_m = float(np.hypot(offset_2[0], offset_2[1])) - less_m
            if told_m > _HEED_M:
                continue
            mine_N = whose_NB[:, column]
            nearest_m = float(far_N.min(initial=np.inf, where=mine_N))
            if told_m < nearest_m - self._hull_m - self._rule.margin_m < np.inf:
                of_it = offsets_N2[mine_N & (far_N < nearest_m + 0.15)]
                movers.append((of_it, self._hull_m + self._rule.margin_m, fast_m_s))
            else:
                movers.append((offset_2[None], less_m, fast_m_s))
        return movers

    def _whose(
        self,
        offsets_N2: Floats,
        neighbours: Sequence[Neighbour],
        position_2: Floats,
        now_s: float,
    ) -> Bools:
        """Which hits may be of which neighbour, wherever it has flown since its word [N, B]."""
        if not neighbours:
            return np.zeros((len(offsets_N2), 0), np.bool_)
        ahead_B2 = np.array([n.position_2 for n in neighbours]) - position_2
        flown_B = np.array(
            [n.fastest(now_s, self._rule.speed_m_s) * (now_s - n.at_s) for n in neighbours]
        )
        off_m = self._rule.radius_m + 1.5 * self._sensors.position_error_m + _SAME_M
        gaps_NB2 = offsets_N2[:, None] - ahead_B2
        return np.asarray((gaps_NB2**2).sum(axis=2) < (off_m + flown_B) ** 2)


_NONE = np.empty((0, 2))


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


def _nearest_a_sector(offsets_M2: Floats) -> Floats:
    """The nearest in each direction; the others hide behind it."""
    far_M = np.hypot(offsets_M2[:, 0], offsets_M2[:, 1])
    near = np.flatnonzero(far_M < _HEED_M)
    near = near[far_M[near].argsort()]
    ways_M = np.arctan2(offsets_M2[near, 1], offsets_M2[near, 0])
    sectors = np.floor(ways_M * (_SECTORS / (2 * np.pi))).astype(np.int64)
    first = np.full(_SECTORS + 1, -1)
    # The last write to a sector stays, so the nearest is written last.
    first[sectors[::-1]] = near[::-1]
    return np.asarray(offsets_M2[first[first >= 0]])
