"""What the range sensor hit of late, in a frame that stands still by dead reckoning.

Shape suffixes: S scans in the ring, R rays, Q squares on the torus, N points.
"""

from __future__ import annotations

import numpy as np

from sextant.systems.swarm.world.grid import Bools, Floats
from sextant.systems.swarm.world.rays import fan
from sextant.systems.swarm.world.sensors import Readings

_SCANS = 32
_SQUARE_M = 0.12
_SIDE = 256
_MEMORY_S = 1.5
_STOOD_S = 0.4
_NOW_S = 0.11
_LATELY_S = 0.26
_AROUND = np.array([(up, across) for up in (-1, 0, 1) for across in (-1, 0, 1)])


class Hits:
    """A ring of the last scans. What was hit before is counted in small squares on a torus, wider
    than the sensor reaches either way, so that one look tells whether something stood there.
    """

    def __init__(self, rays: int) -> None:
        self._at_s_S = np.full(_SCANS, -np.inf)
        self._hits_SR2 = np.zeros((_SCANS, rays, 2))
        self._is_hit_SR = np.zeros((_SCANS, rays), np.bool_)
        self._drone_SR = np.zeros((_SCANS, rays), np.bool_)
        self._stands_SR = np.zeros((_SCANS, rays), np.bool_)
        self._counted_SR = np.zeros((_SCANS, rays), np.bool_)
        self._is_counted_S = np.zeros(_SCANS, np.bool_)
        self._squares_SR = np.zeros((_SCANS, rays), np.int64)
        self._count_Q = np.zeros(_SIDE * _SIDE, np.int32)
        self._moved_2 = np.zeros(2)
        self._now_s: float | None = None
        self._next = 0

    def offsets(self, readings: Readings) -> tuple[Floats, Bools]:
        """From the drone to what each ray hit [R, 2], and which rays hit something [R]."""
        is_hit_R = np.isfinite(readings.ranges_R)
        ranges_R = np.where(is_hit_R, readings.ranges_R, 0.0)
        return fan(len(ranges_R), readings.turn) * ranges_R[:, None], is_hit_R

    def take(self, readings: Readings, offsets_R2: Floats, is_hit_R: Bools, drone_R: Bools) -> None:
        """Take in a scan; `drone_R` are the hits that may be of a known drone."""
        now_s = readings.at_s
        if self._now_s is not None:
            self._moved_2 = self._moved_2 + readings.velocity_2 * (now_s - self._now_s)
        self._now_s = now_s
        self._age(now_s)
        slot, self._next = self._next, (self._next + 1) % _SCANS
        self._forget(slot)
        hits_R2 = self._moved_2 + offsets_R2
        at_R2 = np.floor(hits_R2 / _SQUARE_M).astype(np.int64)
        around_RA2 = (at_R2[:, None] + _AROUND) % _SIDE
        stood_R = self._count_Q[around_RA2[..., 0] * _SIDE + around_RA2[..., 1]].any(axis=1)
        # Before there is a past to compare with, nothing is taken to be moving.
        stands_R = stood_R if self._is_counted_S.any() else np.ones_like(stood_R)
        self._at_s_S[slot] = now_s
        self._hits_SR2[slot], self._is_hit_SR[slot] = hits_R2, is_hit_R
        self._drone_SR[slot], self._stands_SR[slot] = drone_R & is_hit_R, stands_R & is_hit_R
        self._squares_SR[slot] = (at_R2 % _SIDE) @ (_SIDE, 1)

    def walls(self, now_s: float, within_m: float) -> Floats:
        """Offsets of what may stand: of all that was hit a moment ago, whatever it may be, and of
        older hits those that are of no drone.
        """
        age_S1 = (now_s - self._at_s_S)[:, None]
        may_stand_SR = self._stands_SR | (~self._drone_SR & (age_S1 > _STOOD_S))
        chosen_SR = (may_stand_SR & (age_S1 <= _MEMORY_S)) | (age_S1 <= _LATELY_S)
        offsets_SR2 = self._hits_SR2 - self._moved_2
        square_SR = offsets_SR2[..., 0] ** 2 + offsets_SR2[..., 1] ** 2
        return np.asarray(offsets_SR2[chosen_SR & self._is_hit_SR & (square_SR < within_m**2)])

    def strangers(self, now_s: float) -> Floats:
        """Offsets of hits of now that are of no known drone, where nothing stood before."""
        return self._of_now(now_s, ~(self._stands_SR | self._drone_SR))

    def drones(self, now_s: float) -> Floats:
        """Offsets of hits of now that may be of a known drone."""
        return self._of_now(now_s, self._drone_SR)

    def _of_now(self, now_s: float, which_SR: Bools) -> Floats:
        fresh_S = now_s - self._at_s_S <= _NOW_S
        chosen_SR = which_SR[fresh_S] & self._is_hit_SR[fresh_S]
        return np.asarray(self._hits_SR2[fresh_S][chosen_SR] - self._moved_2)

    def _age(self, now_s: float) -> None:
        """Count what has become old, and forget what is too old."""
        age_S = now_s - self._at_s_S
        for slot in np.flatnonzero(~self._is_counted_S & (age_S > _STOOD_S) & (age_S < np.inf)):
            of_wall_R = self._stands_SR[slot] | ~self._drone_SR[slot]
            self._counted_SR[slot] = self._is_hit_SR[slot] & of_wall_R
            self._is_counted_S[slot] = True
            np.add.at(self._count_Q, self._squares_SR[slot][self._counted_SR[slot]], 1)
        for slot in np.flatnonzero(self._is_counted_S & (age_S > _MEMORY_S)):
            self._forget(int(slot))

    def _forget(self, slot: int) -> None:
        if self._is_counted_S[slot]:
            np.subtract.at(self._count_Q, self._squares_SR[slot][self._counted_SR[slot]], 1)
            self._is_counted_S[slot] = False
        self._at_s_S[slot] = -np.inf
