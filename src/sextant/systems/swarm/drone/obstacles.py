"""What stands or flies near a drone: its own recent range hits, and its neighbours' words.

Shape suffixes: K velocities, M things that stand, L things that may move, N points, B neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot

import numpy as np

from sextant.systems.swarm.agreement.neighbours import Neighbour
from sextant.systems.swarm.drone.hits import Hits
from sextant.systems.swarm.drone.safety import Bounds, SafetyRule
from sextant.systems.swarm.world.grid import Bools, Floats
from sextant.systems.swarm.world.sensors import Readings, SensorRule

_SECTORS = 120
_HEED_M = 5.0
_SAME_M = 0.12
_PUSH_PER_S = 5.0
_LEAST_SPARE_M = 0.02
_NONE = np.empty((0, 2))
_NOTHING = Bounds(
    points_M2=_NONE, hulls_M=np.empty(0), ways_L2=_NONE, gaps_L=np.empty(0), push_2=np.zeros(2)
)


class Obstacles:
    """Hits of the last scans, moved along by dead reckoning; a few seconds of it are exact enough.

    A hit near a place that a neighbour speaks of may be that neighbour, and is heeded by what it
    promised; but it may be a wall beside it as well, so for a moment it is heeded as one too.
    Another hit is a wall where something stood a while ago, and else a stranger who may fly as fast
    as anybody can.
    """

    def __init__(self, rule: SafetyRule, sensors: SensorRule) -> None:
        self._rule, self._sensors = rule, sensors
        self._hits = Hits()
        self._reach: tuple[Sequence[Neighbour], Floats, Floats, Floats] | None = None
        self._hull_m = rule.radius_m + rule.margin_m + 3.0 * sensors.range_noise_m
        errors_m = 2.0 * (self._hull_m + rule.margin_m + sensors.position_error_m)
        self._near_m = max(_HEED_M, sensors.reach_m) + errors_m
        self._walls_m = float(rule.stopping_m(np.array(rule.speed_m_s))) + 1.5 * self._hull_m

    def take(self, readings: Readings, neighbours: Sequence[Neighbour] = ()) -> None:
        """Take in a scan; `neighbours` are the last words of those who are to be heeded."""
        offsets_H2 = self._hits.offsets(readings)
        whose_HB = self._whose(offsets_H2, neighbours, readings.position_2, readings.at_s)
        self._hits.take(readings, offsets_H2, np.asarray(whose_HB.any(axis=1)))

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
            neighbours: the last words of those who are to be heeded.
            now_s: the time.
        """
        walls_M2 = _nearest_a_sector(self._hits.walls(), self._walls_m)
        strangers_N2 = _nearest_a_sector(self._hits.strangers(), _HEED_M)
        # Movers as offsets to the nearest that they may be, less the hulls, and their promises.
        told = self._known(position_2, neighbours, now_s)
        if not told and not len(walls_M2) and not len(strangers_N2):
            return _NOTHING
        strange = (self._hull_m + self._rule.margin_m, 0.0, 0.0, self._rule.speed_m_s)
        movers = [(x, y, *strange) for x, y in strangers_N2.tolist()] + told
        movers_L6 = np.array(movers, np.float64).reshape(-1, 6)
        offsets_L2, less_L = movers_L6[:, :2], movers_L6[:, 2]
        far_L = np.hypot(offsets_L2[:, 0], offsets_L2[:, 1])
        ways_L2 = offsets_L2 / np.maximum(far_L, 1e-9)[:, None]
        gaps_L = far_L - less_L
        reach_L = self._rule.reach_m(movers_L6[:, 3:5], movers_L6[:, 5], -ways_L2)
        own_L = self._rule.extents_m(going_K2, ways_L2).max(axis=0, initial=0.0)
        near_N2 = np.concatenate([walls_M2, ways_L2 * (gaps_L + self._hull_m)[:, None]])
        return Bounds(
            points_M2=walls_M2,
            hulls_M=self._hulls(np.hypot(walls_M2[:, 0], walls_M2[:, 1])),
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
        hull_m = min(max(float(far_M.min(initial=np.inf)), least_m), self._hull_m)
        return np.minimum(hull_m, far_M) - 1e-3

    def _known(
        self, position_2: Floats, neighbours: Sequence[Neighbour], now_s: float
    ) -> list[tuple[float, ...]]:
        """Offsets (x, y) of each neighbour, what hulls and errors take of them, and its promise.

        By what the own rays hit of it; by its word alone where they hit nothing, or where it says
        more. Then it may have come nearer since, and both may err on where they are. Where
        something stood before it came is the wall beside it, or it would close the door at whose
        post it stands: that only bounds how near it may be, where its word says that it is.
        """
        if not neighbours:
            return []
        offsets_N2, stood_N = self._hits.drones()
        whose_NB = self._whose(offsets_N2, neighbours, position_2, now_s)
        far_N = np.hypot(offsets_N2[:, 0], offsets_N2[:, 1])
        nearest_B = np.where(whose_NB, far_N[:, None], np.inf).min(axis=0, initial=np.inf)
        hulls_m = 2.0 * (self._rule.radius_m + self._rule.margin_m + self._sensors.position_error_m)
        (x, y), movers = position_2.tolist(), list[tuple[float, ...]]()
        for column, (other, nearest_m) in enumerate(
            zip(neighbours, nearest_B.tolist(), strict=True)
        ):
            promise = other.flies(now_s, self._rule.speed_m_s)
            (across, up), veer_m_s = promise.course, promise.veer_m_s
            ox, oy = other.position_2.tolist()
            ox, oy = ox - x, oy - y
            far_m = hypot(ox, oy)
            nears_m_s = max(0.0, veer_m_s - (across * ox + up * oy) / max(far_m, 1e-9))
            less_m = hulls_m + nears_m_s * max(0.0, now_s - other.at_s)
            told_m = far_m - less_m
            if told_m > _HEED_M:
                continue
            seen_m = nearest_m - self._hull_m - self._rule.margin_m
            if told_m < seen_m < np.inf:
                of_it_N = whose_NB[:, column] & (far_N < nearest_m + 0.15)
                less_m = self._hull_m + self._rule.margin_m
                seen_N2 = offsets_N2[of_it_N & ~stood_N]
                movers += [(*at, less_m, across, up, veer_m_s) for at in seen_N2.tolist()]
                if (of_it_N & stood_N & (far_N == nearest_m)).any():
                    movers.append((ox, oy, far_m - seen_m, across, up, veer_m_s))
            else:
                movers.append((ox, oy, less_m, across, up, veer_m_s))
        return movers

    def heeded(
        self, neighbours: Sequence[Neighbour], position_2: Floats, now_s: float
    ) -> list[Neighbour]:
        """Those that, wherever they have flown since their word, may be near, or hit by a ray."""
        (x, y), most_m_s = position_2.tolist(), self._rule.speed_m_s
        near = []
        for other in neighbours:
            ox, oy = other.position_2.tolist()
            far_m, age_s = hypot(ox - x, oy - y), max(0.0, now_s - other.at_s)
            # Most are near as it is, or too far even for the fastest.
            if far_m < self._near_m or (
                far_m - most_m_s * age_s < self._near_m
                and far_m - other.fastest(now_s, most_m_s) * age_s < self._near_m
            ):
                near.append(other)
        return near

    def _whose(
        self,
        offsets_N2: Floats,
        neighbours: Sequence[Neighbour],
        position_2: Floats,
        now_s: float,
    ) -> Bools:
        """Which hits may be of which neighbour, wherever it has flown since its word [N, B]."""
        if not neighbours or not len(offsets_N2):
            return np.zeros((len(offsets_N2), len(neighbours)), np.bool_)
        # Asked twice a tick: of all hits, and of those of now.
        asked = self._reach
        if asked is None or asked[0] is not neighbours or asked[1] is not position_2:
            ahead_B2 = np.array([n.position_2.tolist() for n in neighbours]) - position_2
            flown_B = np.array(
                [
                    n.fastest(now_s, self._rule.speed_m_s) * max(0.0, now_s - n.at_s)
                    for n in neighbours
                ]
            )
            off_m = self._rule.radius_m + 1.5 * self._sensors.position_error_m + _SAME_M
            asked = self._reach = neighbours, position_2, ahead_B2, (off_m + flown_B) ** 2
        _, _, ahead_B2, square_B = asked
        across_NB = offsets_N2[:, :1] - ahead_B2[:, 0]
        up_NB = offsets_N2[:, 1:] - ahead_B2[:, 1]
        return np.asarray(across_NB**2 + up_NB**2 < square_B)


def _push(offsets_N2: Floats, hull_m: float) -> Floats:
    """Away from everything that is nearer than the hull, faster the nearer it is."""
    far_N = np.hypot(offsets_N2[:, 0], offsets_N2[:, 1])
    near_N = far_N < hull_m
    if not near_N.any():
        return np.zeros(2)
    depth_N = hull_m - far_N[near_N]
    ways_N2 = offsets_N2[near_N] / np.maximum(far_N[near_N], 1e-9)[:, None]
    way_2 = -(ways_N2 * depth_N[:, None]).sum(axis=0)
    length = float(np.hypot(way_2[0], way_2[1]))
    return np.asarray(way_2 / max(length, 1e-9) * depth_N.max() * _PUSH_PER_S)


def _nearest_a_sector(offsets_M2: Floats, within_m: float) -> Floats:
    """The nearest in each direction; the others hide behind it."""
    square_M = offsets_M2[:, 0] ** 2 + offsets_M2[:, 1] ** 2
    near = (square_M < within_m**2).nonzero()[0]
    if len(near) < 2:
        return np.asarray(offsets_M2[near])
    near_M2, square_M = offsets_M2[near], square_M[near]
    ways_M = np.arctan2(near_M2[:, 1], near_M2[:, 0])
    sectors = np.floor(ways_M * (_SECTORS / (2 * np.pi))).astype(np.int64)
    least = np.full(_SECTORS + 1, np.inf)
    np.minimum.at(least, sectors, square_M)
    nearest = (square_M == least[sectors]).nonzero()[0]
    first = np.full(_SECTORS + 1, -1)
    first[sectors[nearest]] = nearest
    return np.asarray(near_M2[first[first >= 0]])
