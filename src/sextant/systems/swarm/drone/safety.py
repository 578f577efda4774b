"""The last word on every setpoint: a drone never flies faster than it can stop.

A velocity is allowed if the drone, told to stop one reaction later, comes to rest without touching
anything: stop(v) = v t + brake(v) straight on, with t the longest time until a new setpoint acts.
Towards what may move it uses half of the gap, since the other uses the other half: two drones that
both keep to it stay apart.
Source: Berg et al. 2011 (ORCA) for the halves; Fox et al. 1997 (dynamic window) for admissible
velocities.

Shape suffixes: M things that stand, L things that may move, K candidate velocities.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from sextant.systems.swarm.world.grid import Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class SafetyRule:
    """What stopping takes.

    Attributes:
        radius_m: of a drone.
        margin_m: kept beside it, for what sensors and gusts may do.
        speed_m_s: the fastest anybody flies.
        brake_m_s2: deceleration that is certain.
        response_s: the autopilot closes a velocity error in about this time.
        react_s: from a reading to the setpoint that it leads to acting: two ticks.
    """

    radius_m: float = 0.3
    margin_m: float = 0.1
    speed_m_s: float = 3.0
    brake_m_s2: float = 6.5
    response_s: float = 0.15
    react_s: float = 0.1

    def stopping_m(self, speed_m_s: Floats) -> Floats:
        """Metres to a stop from a speed.

        At first the brake is full, down to v0 = brake * response; then the autopilot's error decays
        with its time constant: (v^2 - v0^2) / 2a + v0 * response, or v * response below v0.
        """
        knee = self.brake_m_s2 * self.response_s
        over = np.maximum(speed_m_s**2 - knee**2, 0.0) / (2.0 * self.brake_m_s2)
        tail = np.minimum(speed_m_s, knee) * self.response_s
        return np.asarray(speed_m_s * self.react_s + over + tail)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """What the way to a stop may not touch.

    Attributes:
        points_M2: from the drone to what stands still.
        hulls_M: how near the way may come to each.
        ways_L2: unit vectors towards what may move.
        gaps_L: how far the way may lead along each; this drone's part of the gap.
        push_2: the velocity that leads away from what is too near already.
    """

    points_M2: Floats
    hulls_M: Floats
    ways_L2: Floats
    gaps_L: Floats
    push_2: Floats

    def allow(self, velocities_K2: Floats, rule: SafetyRule) -> np.ndarray:
        """Which velocities keep to all bounds [K]."""
        return np.asarray(self.excess_m(velocities_K2, rule) <= 1e-9)

    def excess_m(self, velocities_K2: Floats, rule: SafetyRule) -> Floats:
        """By how much the straight way to a stop breaks the worst bound [K]; 0 is allowed."""
        speeds_K = np.hypot(*velocities_K2.T)
        stops_K = rule.stopping_m(speeds_K)
        ways_K2 = velocities_K2 / np.maximum(speeds_K, 1e-9)[:, None]
        along_KM = np.clip(ways_K2 @ self.points_M2.T, 0.0, stops_K[:, None])
        # |p - along w|^2 = |p|^2 - 2 along (p . w) + along^2
        square_KM = (self.points_M2**2).sum(axis=1) - 2 * along_KM * (ways_K2 @ self.points_M2.T)
        nearest_KM = np.sqrt(np.maximum(square_KM + along_KM**2, 0.0))
        touch_K = (self.hulls_M - nearest_KM).max(axis=1, initial=-np.inf)
        over_KL = stops_K[:, None] * (ways_K2 @ self.ways_L2.T) - self.gaps_L
        return np.asarray(np.maximum(touch_K, over_KL.max(axis=1, initial=-np.inf)))


def nearest_allowed(wanted_2: Floats, bounds: Bounds, rule: SafetyRule) -> Floats:
    """The allowed velocity nearest to the wanted one; where none is, the one that breaks least.

    Candidates are the wanted velocity, parts of it, standing still, and a fan of speeds.
    """
    wanted_2 = wanted_2 + bounds.push_2
    candidates_K2 = np.concatenate([wanted_2 * _PARTS[:, None], _fan(rule.speed_m_s)])
    excess_K = bounds.excess_m(candidates_K2, rule)
    cost_K = ((candidates_K2 - wanted_2) ** 2).sum(axis=1)
    allowed_K = excess_K <= 1e-9
    if allowed_K.any():
        return np.asarray(candidates_K2[np.where(allowed_K, cost_K, np.inf).argmin()])
    slow_K = np.hypot(*candidates_K2.T) <= 0.2 * rule.speed_m_s
    return np.asarray(candidates_K2[np.where(slow_K, excess_K, np.inf).argmin()])


_PARTS = np.array([1.0, 0.75, 0.5, 0.25, 0.0])


@cache
def _fan(speed_m_s: float) -> Floats:
    angles = np.arange(48) * (2.0 * np.pi / 48)
    ways = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    speeds = speed_m_s * np.array([0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0])
    return np.asarray((speeds[:, None, None] * ways).reshape(-1, 2))
