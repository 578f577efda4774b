"""The last word on every setpoint: a drone never flies faster than it can stop.

A velocity is allowed if the drone, told to stop one reaction later, comes to rest without touching
anything: stop(v) = v t + brake(v) straight on, with t the longest time until a new setpoint acts.

Towards another that may move: let g be the gap between the two hulls, e how far the drone would
still come nearer if it braked now, and E >= e' a bound on the same of the other, from the speed
that it promised not to exceed (from the highest speed of all, where it promised nothing). If
e + E <= g, a new velocity is allowed that comes nearer by at most (g + e - E) / 2; else the drone
brakes. Then e + e' <= g holds for ever, so the two never touch:
both choose anew: the sum is at most (g + e - E)/2 + (g + e' - E')/2 <= g, for e <= E', e' <= E;
one brakes and the other chooses: at most e + (g + e' - E')/2 <= (g + e + e')/2 <= g;
both brake: what is left of each way to a stop is part of what it was.
Nobody needs to know what the other chooses, nor whether it still listens.
Source: Berg et al. 2011 (ORCA) for the halves; Fox et al. 1997 (dynamic window) for admissible
velocities.

Shape suffixes: M things that stand, L things that may move, K velocities.
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

    def extents_m(self, velocities_K2: Floats, ways_L2: Floats) -> Floats:
        """How far the ways to a stop lead along unit vectors [K, L]; 0 for those that lead away."""
        speeds_K = np.hypot(*velocities_K2.T)
        ways_K2 = velocities_K2 / np.maximum(speeds_K, 1e-9)[:, None]
        along_KL = np.maximum(ways_K2 @ ways_L2.T, 0.0)
        return np.asarray(self.stopping_m(speeds_K)[:, None] * along_KL)

    def speed_to_stop_in(self, metres: float) -> float:
        """The highest speed, in steps of 0.1 m/s, whose way to a stop is no longer."""
        speeds = np.arange(0.0, self.speed_m_s + 0.05, 0.1)
        return float(speeds[self.stopping_m(speeds) <= max(metres, 0.0)][-1])


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """What the way to a stop may not touch.

    Attributes:
        points_M2: from the drone to what stands still.
        hulls_M: how near the way may come to each.
        ways_L2: unit vectors towards what may move.
        gaps_L: how far the way may lead along each; this drone's part of the gap.
        push_2: the velocity that leads away from what is too near already.
        over_m: by how much e + E exceeds g at worst: above 0, and the drone must brake.
    """

    points_M2: Floats
    hulls_M: Floats
    ways_L2: Floats
    gaps_L: Floats
    push_2: Floats
    over_m: float = -np.inf

    def allow(self, velocities_K2: Floats, rule: SafetyRule) -> np.ndarray:
        """Which velocities keep to all bounds [K]."""
        return np.asarray(self.excess_m(velocities_K2, rule) <= 1e-9)

    def excess_m(self, velocities_K2: Floats, rule: SafetyRule) -> Floats:
        """By how much the straight way to a stop breaks the worst bound [K]; 0 is allowed."""
        speeds_K = np.hypot(*velocities_K2.T)
        stops_K = rule.stopping_m(speeds_K)
        ways_K2 = velocities_K2 / np.maximum(speeds_K, 1e-9)[:, None]
        ahead_KM = ways_K2 @ self.points_M2.T
        along_KM = np.clip(ahead_KM, 0.0, stops_K[:, None])
        # |p - along w|^2 = |p|^2 - 2 along (p . w) + along^2
        square_KM = (self.points_M2**2).sum(axis=1) + along_KM * (along_KM - 2.0 * ahead_KM)
        nearest_KM = np.sqrt(np.maximum(square_KM, 0.0))
        touch_K = (self.hulls_M - nearest_KM).max(axis=1, initial=-np.inf)
        over_KL = rule.extents_m(velocities_K2, self.ways_L2) - self.gaps_L
        return np.asarray(np.maximum(touch_K, over_KL.max(axis=1, initial=-np.inf)))


def nearest_allowed(
    wanted_2: Floats,
    bounds: Bounds,
    rule: SafetyRule,
    *,
    velocity_2: Floats | None = None,
    limit_m_s: float | None = None,
) -> Floats:
    """The allowed velocity nearest to the wanted one; where none is, a stop.

    Candidates are the wanted velocity, parts of it, those turned a little, standing still, and a
    fan of speeds all around.

    Args:
        wanted_2: the wish.
        bounds: to keep to.
        rule: what stopping takes.
        velocity_2: the drone's own; who flies, and must brake, does nothing else.
        limit_m_s: the speed that the drone has promised not to exceed.
    """
    if velocity_2 is not None and bounds.over_m > _TOLERANCE_M and _length(velocity_2) > _SLOW_M_S:
        return np.zeros(2)
    limit_m_s = rule.speed_m_s if limit_m_s is None else limit_m_s
    wanted_2 = wanted_2 + bounds.push_2
    wanted_2 = wanted_2 * min(1.0, limit_m_s / max(_length(wanted_2), 1e-9))
    candidates_K2 = np.concatenate([(_TURNS @ wanted_2).reshape(-1, 2), _fan(limit_m_s)])
    excess_K = bounds.excess_m(candidates_K2, rule)
    cost_K = ((candidates_K2 - wanted_2) ** 2).sum(axis=1)
    allowed_K = excess_K <= 1e-9
    if allowed_K.any():
        return np.asarray(candidates_K2[np.where(allowed_K, cost_K, np.inf).argmin()])
    return np.zeros(2)


_TOLERANCE_M = 0.02
_SLOW_M_S = 0.3
_PARTS = np.array([1.0, 0.75, 0.5, 0.25, 0.1, 0.0])


def _turns() -> Floats:
    """Parts of a vector, straight on and turned by a few degrees to either side, as matrices."""
    angles = np.radians([0.0, 4.0, -4.0, 9.0, -9.0])
    cos, sin = np.cos(angles), np.sin(angles)
    turned = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)
    return np.asarray((_PARTS[:, None, None, None] * turned).reshape(-1, 2, 2))


_TURNS = _turns()


def _length(vector_2: Floats) -> float:
    return float(np.hypot(vector_2[0], vector_2[1]))


@cache
def _fan(speed_m_s: float) -> Floats:
    angles = np.arange(24) * (2.0 * np.pi / 24)
    ways = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    speeds = speed_m_s * np.array([0.1, 0.25, 0.5, 0.75, 1.0])
    return np.asarray((speeds[:, None, None] * ways).reshape(-1, 2))
