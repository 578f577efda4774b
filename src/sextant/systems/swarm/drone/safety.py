"""The last word on every setpoint: a drone never flies faster than it can stop.

For every obstacle the speed towards it is at most the one from which the drone stops before it:

    v . n <= v(gap),   stop(v) = v t + brake(v) <= gap

with t the longest time until a new setpoint acts. Towards whatever may move it takes half of the
gap, since the other takes the other half: two drones that both keep to it stay apart.
Source: Berg et al. 2011 (ORCA) for the halves; Ames et al. 2019 for a barrier by braking distance.

Shape suffixes: M obstacles, K candidate velocities.
"""

from __future__ import annotations

from dataclasses import dataclass

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

    def speed_within(self, gap_m: Floats) -> Floats:
        """The fastest approach from which the drone stops within a gap; 0 without one."""
        knee = self.brake_m_s2 * self.response_s
        slow = gap_m / (self.react_s + self.response_s)
        # Beyond the knee: v^2 / 2a + v t + (v0 response - v0^2 / 2a) = gap, solved for v.
        rest = gap_m - (knee * self.response_s - knee**2 / (2.0 * self.brake_m_s2))
        drop = self.brake_m_s2 * self.react_s
        fast = -drop + np.sqrt(np.maximum(drop**2 + 2.0 * self.brake_m_s2 * rest, 0.0))
        speed = np.where(slow <= knee, slow, fast)
        return np.asarray(np.clip(speed, 0.0, self.speed_m_s))


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """What no velocity may exceed: v . ways_M2 <= speeds_M, towards each obstacle."""

    ways_M2: Floats
    speeds_M: Floats

    def allow(self, velocities_K2: Floats) -> np.ndarray:
        """Which velocities keep to all bounds [K]."""
        if not len(self.speeds_M):
            return np.ones(len(velocities_K2), np.bool_)
        return np.asarray((velocities_K2 @ self.ways_M2.T <= self.speeds_M + 1e-9).all(axis=1))


def bounds_of(offsets_M2: Floats, gaps_M: Floats, share_M: Floats, rule: SafetyRule) -> Bounds:
    """The bounds towards obstacles.

    Args:
        offsets_M2: from the drone to each.
        gaps_M: metres that are certainly free between the drone's hull and it.
        share_M: the part of the gap that this drone may use.
        rule: what stopping takes.
    """
    far_M = np.hypot(*offsets_M2.T)
    ways_M2 = offsets_M2 / np.maximum(far_M, 1e-9)[:, None]
    speeds_M = rule.speed_within(np.maximum(gaps_M, 0.0) * share_M)
    # Too near is worse than near: back off gently, so that noise does not eat up the margin.
    pushed_M = np.clip(gaps_M * share_M / rule.response_s, -0.3 * rule.speed_m_s, 0.0)
    return Bounds(ways_M2=ways_M2, speeds_M=np.where(gaps_M < 0, pushed_M, speeds_M))


def nearest_allowed(wanted_2: Floats, bounds: Bounds, rule: SafetyRule) -> Floats:
    """The allowed velocity nearest to the wanted one; where none is, the least bad of the slow.

    Candidates are the wanted velocity, its projections on the bounds, and a fan of speeds.
    """
    candidates_K2 = _candidates(wanted_2, bounds, rule)
    allowed_K = bounds.allow(candidates_K2)
    if allowed_K.any():
        cost_K = ((candidates_K2 - wanted_2) ** 2).sum(axis=1)
        return np.asarray(candidates_K2[np.where(allowed_K, cost_K, np.inf).argmin()])
    slow_K2 = candidates_K2[np.hypot(*candidates_K2.T) <= 0.3 * rule.speed_m_s + 1e-9]
    excess_K = (slow_K2 @ bounds.ways_M2.T - bounds.speeds_M).max(axis=1)
    return np.asarray(slow_K2[excess_K.argmin()])


def _candidates(wanted_2: Floats, bounds: Bounds, rule: SafetyRule) -> Floats:
    angles = np.arange(48) * (2.0 * np.pi / 48)
    ways = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    speeds = rule.speed_m_s * np.array([0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0])
    fan_K2 = (speeds[:, None, None] * ways).reshape(-1, 2)
    over_M = bounds.ways_M2 @ wanted_2 - bounds.speeds_M
    broken = over_M > 0
    onto_K2 = wanted_2 - over_M[broken, None] * bounds.ways_M2[broken]
    return np.concatenate([wanted_2[None], np.zeros((1, 2)), onto_K2, 0.5 * wanted_2[None], fan_K2])
