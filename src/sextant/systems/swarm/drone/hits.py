"""What the range sensor hit of late, in a frame that stands still by dead reckoning.

Shape suffixes: R rays, H rays that hit something, Q squares on the torus, N points.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sextant.systems.swarm.world.grid import Bools, Floats
from sextant.systems.swarm.world.rays import fan
from sextant.systems.swarm.world.sensors import Readings

_SCANS = 32
_SQUARE_M = 0.12
_SIDE = 256
"""Squares along a side: a power of two, so that a mask finds the place on the torus."""
_MEMORY_S = 1.5
_STOOD_S = 0.4
_NOW_S = 0.11
_LATELY_S = 0.26
_AROUND = np.array([(up, across) for up in (-1, 0, 1) for across in (-1, 0, 1)])
_NONE = np.empty((0, 2))


@dataclass(kw_only=True, slots=True)
class _Scan:
    """What one scan hit.

    Attributes:
        at_s: its time.
        hits_H2: where, in the frame that stands still.
        drone_H: may be of a known drone.
        stands_H: something stood there before.
        squares_H: the squares that it fell into; once it is old, those that it is counted in.
        walls_N2: what of it may stand by now: of a scan of a moment ago all, whatever it may be;
            later what stood there before; in the end also all that is of no drone.
    """

    at_s: float
    hits_H2: Floats
    drone_H: Bools
    stands_H: Bools
    squares_H: np.ndarray
    walls_N2: Floats


class Hits:
    """The last scans. What was hit before is counted in small squares on a torus, wider than the
    sensor reaches either way, so that one look tells whether something stood there.
    """

    def __init__(self) -> None:
        self._late: deque[_Scan] = deque()
        self._aging: deque[_Scan] = deque()
        self._old: deque[_Scan] = deque()
        self._count_Q = np.zeros(_SIDE * _SIDE, np.int32)
        self._moved_2 = np.zeros(2)
        self._now_s: float | None = None

    def offsets(self, readings: Readings) -> Floats:
        """From the drone to what its rays hit [H, 2]."""
        is_hit_R = np.isfinite(readings.ranges_R)
        if not is_hit_R.any():
            return _NONE
        ways_H2 = fan(len(is_hit_R), readings.turn)[is_hit_R]
        return np.asarray(ways_H2 * readings.ranges_R[is_hit_R][:, None])

    def take(self, readings: Readings, offsets_H2: Floats, drone_H: Bools) -> None:
        """Take in a scan; `drone_H` are the hits that may be of a known drone."""
        now_s = readings.at_s
        if self._now_s is not None:
            self._moved_2 = self._moved_2 + readings.velocity_2 * (now_s - self._now_s)
        self._now_s = now_s
        self._age(now_s)
        hits_H2 = self._moved_2 + offsets_H2
        at_H2 = np.floor(hits_H2 / _SQUARE_M).astype(np.int64)
        # Before there is a past to compare with, everything may be about to move.
        stands_H = np.zeros(len(hits_H2), np.bool_)
        if self._old and len(hits_H2):
            around_AH2 = (at_H2 + _AROUND[:, None]) & (_SIDE - 1)
            stands_H = self._count_Q[around_AH2[..., 0] * _SIDE + around_AH2[..., 1]].any(axis=0)
        self._late.append(
            _Scan(
                at_s=now_s,
                hits_H2=hits_H2,
                drone_H=drone_H,
                stands_H=stands_H,
                squares_H=(at_H2[:, 0] & (_SIDE - 1)) * _SIDE + (at_H2[:, 1] & (_SIDE - 1)),
                walls_N2=hits_H2,
            )
        )

    def walls(self) -> Floats:
        """Offsets of what may stand."""
        return self._joined(
            scan.walls_N2
            for scans in (self._old, self._aging, self._late)
            for scan in scans
            if len(scan.walls_N2)
        )

    def strangers(self) -> Floats:
        """Offsets of hits of now that are of no known drone, where nothing stood before."""
        return self._joined(s.hits_H2[~(s.stands_H | s.drone_H)] for s in self._of_now())

    def drones(self) -> tuple[Floats, Bools]:
        """Offsets of hits of now that may be of a known drone, and whether something stood there
        before.
        """
        scans = self._of_now()
        stands = [np.zeros(0, np.bool_), *(s.stands_H[s.drone_H] for s in scans)]
        return self._joined(s.hits_H2[s.drone_H] for s in scans), np.concatenate(stands)

    def _of_now(self) -> list[_Scan]:
        least_s = self._late[-1].at_s - _NOW_S if self._late else 0.0
        return [scan for scan in self._late if scan.at_s >= least_s and len(scan.hits_H2)]

    def _joined(self, parts: Iterable[Floats]) -> Floats:
        parts = list(parts)
        return np.asarray(np.concatenate(parts) - self._moved_2) if parts else _NONE

    def _age(self, now_s: float) -> None:
        """Move scans on as they grow older, and forget what is too old."""
        while self._late and now_s - self._late[0].at_s > _LATELY_S:
            scan = self._late.popleft()
            scan.walls_N2 = scan.hits_H2[scan.stands_H]
            self._aging.append(scan)
        while self._aging and now_s - self._aging[0].at_s > _STOOD_S:
            scan = self._aging.popleft()
            of_wall_H = scan.stands_H | ~scan.drone_H
            scan.walls_N2, scan.squares_H = scan.hits_H2[of_wall_H], scan.squares_H[of_wall_H]
            np.add.at(self._count_Q, scan.squares_H, 1)
            self._old.append(scan)
        kept = _SCANS - 1 - len(self._late) - len(self._aging)
        while self._old and (len(self._old) > kept or now_s - self._old[0].at_s > _MEMORY_S):
            np.subtract.at(self._count_Q, self._old.popleft().squares_H, 1)
