"""The last word on every setpoint: a drone never flies faster than it can stop.

A velocity is allowed if the drone, told to stop one reaction later, comes to rest without touching
anything: stop(v) = v t + brake(v) straight on, with t the longest time until a new setpoint acts.

Towards another that may move: let g be the gap between the two hulls, e how far the drone would
still come nearer if it braked now, and E >= e' a bound on the same of the other, from the disk of
velocities that it promised to keep to (from all that anybody can fly, where it promised nothing):
who promised to fly away, or beside, is hardly feared. If e + E <= g, a new velocity is allowed that
comes nearer by at most (g + e - E) / 2; else the drone brakes. Then e + e' <= g holds for ever, so
the two never touch:
both choose anew: the sum is at most (g + e - E)/2 + (g + e' - E')/2 <= g, for e <= E', e' <= E;
one brakes and the other chooses: at most e + (g + e' - E')/2 <= (g + e + e')/2 <= g;
both brake: what is left of each way to a stop is part of what it was.
Who comes no nearer, or hardly flies, need not brake for it: any velocity that comes nearer than its
half, or at all where that is nothing, is refused all the same. All is measured along the line
between the two as it is now; that it turns as they fly is left to the margins, by trial.
Nobody needs to know what the other chooses, nor whether it still listens.
Source: Berg et al. 2011 (ORCA) for the halves; Fox et al. 1997 (dynamic window) for admissible
velocities.

Shape suffixes: M things that stand, L things that may move, K velocities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot

import numpy as np

from sextant.systems.swarm.agreement.neighbours import Promise
from sextant.systems.swarm.world.grid import Bools, Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class SafetyRule:
    """What stopping takes.

    Attributes:
        radius_m: of a drone.
        margin_m: kept beside it, for what sensors and gusts may do.
        speed_m_s: the fastest anybody flies.
        brake_m_s2: deceleration that is certain.
        response_s: the autopilot closes a velocity error in about this time.
        react_s: from a reading to the setpoint of the next one acting: two ticks.
        late_s: how long of it the setpoint before may still act.
    """

    radius_m: float = 0.3
    margin_m: float = 0.1
    speed_m_s: float = 3.0
    brake_m_s2: float = 6.5
    response_s: float = 0.15
    react_s: float = 0.1
    late_s: float = 0.0

    def stopping_m(self, speed_m_s: Floats) -> Floats:
        """Metres to a stop from a speed, one reaction later."""
        return np.asarray(speed_m_s * self.react_s + self.braking_m(speed_m_s))

    def braking_m(self, speed_m_s: Floats) -> Floats:
        """Metres to a stop from a speed, once the setpoint is zero.

        At first the brake is full, down to v0 = brake * response; then the autopilot's error decays
        with its time constant: (v^2 - v0^2) / 2a + v0 * response, or v * response below v0.
        """
        knee = self.brake_m_s2 * self.response_s
        over = np.maximum(speed_m_s**2 - knee**2, 0.0) / (2.0 * self.brake_m_s2)
        return np.asarray(over + np.minimum(speed_m_s, knee) * self.response_s)

    def swerve(
        self, velocity_2: Floats, setpoints_K2: Floats, seconds: float
    ) -> tuple[Floats, Floats]:
        """Where a drone comes by following setpoints for a time, and how fast it is then [K, 2].

        The brake's acceleration turns the velocity straight towards the setpoint, in full down to
        an error of v0 and then with the autopilot's time constant.
        """
        change_K2 = setpoints_K2 - velocity_2
        error_K = _lengths(change_K2)
        knee = self.brake_m_s2 * self.response_s
        full_K = np.clip((error_K - knee) / self.brake_m_s2, 0.0, seconds)
        left_K = error_K - self.brake_m_s2 * full_K
        decay_K = np.exp((full_K - seconds) / self.response_s)
        lag_K = (error_K - 0.5 * self.brake_m_s2 * full_K) * full_K
        lag_K += left_K * self.response_s * (1.0 - decay_K)
        ways_K2 = change_K2 / np.maximum(error_K, 1e-9)[:, None]
        come_K2 = setpoints_K2 * seconds - ways_K2 * lag_K[:, None]
        return come_K2, setpoints_K2 - ways_K2 * (left_K * decay_K)[:, None]

    def extents_m(self, velocities_K2: Floats, ways_L2: Floats) -> Floats:
        """How far the ways to a stop lead along unit vectors [K, L]; 0 for those that lead away."""
        speeds_K = _lengths(velocities_K2)
        return _along(velocities_K2, speeds_K, self.stopping_m(speeds_K), ways_L2)

    def reach_m(self, courses_L2: Floats, veers_L: Floats, ways_L2: Floats) -> Floats:
        """How far the way to a stop of who keeps a promise may lead along unit vectors [L].

        Any one of the three may have more dimensions, or fewer.

        For v in a disk (c, r) it leads stop(|v|) (v . d) / |v| along d. No v . d is above
        c . d + r, and no |v| above s = |c| + r; and stop(v) / v rises with v, so it is at most
        stop(s) / s * (c . d + r). A part of v leads less far.
        """
        nears_L = (courses_L2 * ways_L2).sum(axis=-1) + veers_L
        fastest_L = np.hypot(courses_L2[..., 0], courses_L2[..., 1]) + veers_L
        fastest_L = np.minimum(fastest_L, self.speed_m_s)
        steep_L = self.stopping_m(fastest_L) / np.maximum(fastest_L, 1e-9)
        return np.asarray(np.minimum(np.maximum(nears_L, 0.0), fastest_L) * steep_L)


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

    def excess_m(
        self, velocities_K2: Floats, rule: SafetyRule, going: Going | None = None
    ) -> Floats:
        """By how much the way to a stop breaks the worst bound [K]; 0 is allowed.

        Straight on, as if the drone had the velocity at once; and, where it is known how it flies,
        along the swerve from that to a stop, which may take it nearer than either velocity alone.
        """
        speeds_K = _lengths(velocities_K2)
        stops_K = rule.stopping_m(speeds_K)
        worst_K = np.full(len(speeds_K), -np.inf)
        if len(self.ways_L2):
            extents_KL = _along(velocities_K2, speeds_K, stops_K, self.ways_L2)
            over_K = (extents_KL - self.gaps_L).max(axis=1)
            # The proof for what may move knows no smaller breach.
            worst_K = np.where(over_K > _NOTHING_M, np.inf, over_K)
            if worst_K.min() == np.inf:
                return worst_K
        if not len(self.points_M2):
            return worst_K
        fastest_m_s = float(speeds_K.max())
        if going is not None:
            fastest_m_s = max(fastest_m_s, _length(going.velocity_2), _length(going.setpoint_2))
        # No way to a stop is longer, so what lies beyond it is out of reach.
        spare_M = _lengths(self.points_M2) - self.hulls_M
        near = (spare_M <= rule.stopping_m(np.asarray(fastest_m_s)) + _SWERVE_M).nonzero()[0]
        if not len(near):
            return np.asarray(worst_K)
        points_M2, hulls_M = self.points_M2[near], self.hulls_M[near]
        straight_K2 = _scaled(velocities_K2, speeds_K, stops_K)
        worst_K = np.maximum(worst_K, _touch(points_M2, hulls_M, _NOWHERE, straight_K2))
        if going is None:
            return np.asarray(worst_K)
        from_2, velocity_2 = rule.swerve(going.velocity_2, going.setpoint_2[None], rule.late_s)
        bend_K2, after_K2 = rule.swerve(velocity_2[0], velocities_K2, rule.react_s - rule.late_s)
        slower_K = _lengths(after_K2)
        rest_K2 = _scaled(after_K2, slower_K, rule.braking_m(slower_K))
        hulls_M = hulls_M - _SWERVE_M
        worst_K = np.maximum(worst_K, _touch(points_M2, hulls_M, from_2, bend_K2))
        return np.asarray(
            np.maximum(worst_K, _touch(points_M2, hulls_M, from_2 + bend_K2, rest_K2))
        )


def _touch(points_M2: Floats, hulls_M: Floats, starts_K2: Floats, ways_K2: Floats) -> Floats:
    """By how much straight ways come too near to what stands [K]."""
    lengths_K = np.maximum(_lengths(ways_K2), 1e-9)
    units_K2 = ways_K2 / lengths_K[:, None]
    across_KM = points_M2[:, 0] - starts_K2[:, :1]
    up_KM = points_M2[:, 1] - starts_K2[:, 1:]
    ahead_KM = across_KM * units_K2[:, :1] + up_KM * units_K2[:, 1:]
    along_KM = np.minimum(np.maximum(ahead_KM, 0.0), lengths_K[:, None])
    # |p - along w|^2 = |p|^2 - 2 along (p . w) + along^2
    square_KM = across_KM**2 + up_KM**2 + along_KM * (along_KM - 2.0 * ahead_KM)
    return np.asarray((hulls_M - np.sqrt(np.maximum(square_KM, 0.0))).max(axis=1))


@dataclass(frozen=True, kw_only=True, slots=True)
class Going:
    """How a drone flies: its velocity, and the setpoint that acts until a new one comes."""

    velocity_2: Floats
    setpoint_2: Floats


def nearest_allowed(
    wanted_2: Floats,
    bounds: Bounds,
    rule: SafetyRule,
    *,
    going: Going | None = None,
    promised: Sequence[Promise] = (),
) -> Floats:
    """The allowed velocity nearest to the wanted one; where none is, the one that breaks least.

    Candidates are the wanted velocity, parts of it, those turned a little, standing still, and a
    fan of speeds all around.

    Args:
        wanted_2: the wish.
        bounds: to keep to.
        rule: what stopping takes.
        going: how the drone flies; who flies, and must brake, does nothing else.
        promised: what the drone has promised to keep to.
    """
    must_brake = bounds.over_m > _TOLERANCE_M
    if must_brake and going is not None and _length(going.velocity_2) > _SLOW_M_S:
        return np.zeros(2)
    limit_m_s = min([rule.speed_m_s, *(promise.fastest_m_s for promise in promised)])
    wanted_2 = _away(wanted_2, bounds.push_2)
    wanted_2 = wanted_2 * min(1.0, limit_m_s / max(_length(wanted_2), 1e-9))
    if kept(wanted_2[None], promised)[0] and (
        bounds.excess_m(wanted_2[None], rule, going)[0] <= _NOTHING_M
    ):
        return wanted_2
    inside_K2 = _inside(wanted_2, promised)
    candidates_K2 = np.concatenate(
        [(_TURNS @ wanted_2).reshape(-1, 2), inside_K2, limit_m_s * _FAN]
    )
    cost_K = ((candidates_K2 - wanted_2) ** 2).sum(axis=1)
    order_K = cost_K.argsort(kind="stable")
    looked, excess = [], []
    # The first that is allowed is the answer, so the others need not be looked at.
    for part_K in np.split(order_K, _FIRST):
        part_K2 = candidates_K2[part_K]
        part_K2 = part_K2[kept(part_K2, promised)]
        if not len(part_K2):
            continue
        looked.append(part_K2)
        excess.append(bounds.excess_m(part_K2, rule, going))
        allowed = (excess[-1] <= _NOTHING_M).nonzero()[0]
        if len(allowed):
            return np.asarray(part_K2[allowed[0]])
    excess_K = np.concatenate(excess)
    least = (excess_K <= excess_K.min() + _NOTHING_M).nonzero()[0]
    return np.asarray(np.concatenate(looked)[least[0]])


def kept(velocities_K2: Floats, promised: Sequence[Promise]) -> Bools:
    """Whether velocities keep all promises [K]; to stand still keeps any.

    One does if, made longer or not, it is in the disk.
    """
    if not promised:
        return np.ones(len(velocities_K2), np.bool_)
    courses_P2 = np.array([promise.course for promise in promised])
    veers_P = np.array([promise.veer_m_s for promise in promised])
    square_K1 = (velocities_K2[:, 0] ** 2 + velocities_K2[:, 1] ** 2)[:, None]
    along_KP = velocities_K2 @ courses_P2.T
    longer_KP = np.maximum(along_KP / np.maximum(square_K1, 1e-12), 1.0)
    off_KP = (
        longer_KP * (longer_KP * square_K1 - 2.0 * along_KP)
        + courses_P2[:, 0] ** 2
        + courses_P2[:, 1] ** 2
    )
    is_kept_KP = (off_KP <= veers_P**2 + _NOTHING_M) | (square_K1 < 1e-12)
    return np.asarray(is_kept_KP.all(axis=1))


def _inside(wanted_2: Floats, promised: Sequence[Promise]) -> Floats:
    """The velocities in each promise that are nearest to the wish, and parts of them."""
    courses_P2 = np.array([promise.course for promise in promised]).reshape(-1, 2)
    veers_P = np.array([promise.veer_m_s for promise in promised])
    off_P2 = wanted_2 - courses_P2
    nearest_P2 = courses_P2 + _scaled(off_P2, _lengths(off_P2), 0.999 * veers_P)
    return np.asarray((_PARTS[:-1, None, None] * nearest_P2).reshape(-1, 2))


def _away(wanted_2: Floats, push_2: Floats) -> Floats:
    """Away from what is too near: who only stopped there would drift into it in the wind."""
    against = float(wanted_2 @ push_2) / max(float(push_2 @ push_2), 1e-9)
    return np.asarray(wanted_2 + (1.0 - min(against, 0.0)) * push_2)


_TOLERANCE_M = 0.02
_SLOW_M_S = 0.3
_NOTHING_M = 1e-9
_NOWHERE = np.zeros((1, 2))
_SWERVE_M = 0.03
"""A velocity is read with an error, so what it says of the way to a stop has one as well."""
_PARTS = np.array([1.0, 0.75, 0.5, 0.25, 0.1, 0.0])


def _lengths(vectors_K2: Floats) -> Floats:
    """Of vectors [K, 2]."""
    return np.asarray(np.hypot(vectors_K2[:, 0], vectors_K2[:, 1]))


def _scaled(vectors_K2: Floats, before_K: Floats, lengths_K: Floats) -> Floats:
    """Vectors of the same directions and other lengths than before."""
    return np.asarray(vectors_K2 * (lengths_K / np.maximum(before_K, 1e-9))[:, None])


def _along(velocities_K2: Floats, speeds_K: Floats, stops_K: Floats, ways_L2: Floats) -> Floats:
    """How far ways to a stop of such lengths lead along unit vectors [K, L]."""
    ways_K2 = velocities_K2 / np.maximum(speeds_K, 1e-9)[:, None]
    return np.asarray(stops_K[:, None] * np.maximum(ways_K2 @ ways_L2.T, 0.0))


def _turns() -> Floats:
    """Parts of a vector, straight on and turned by a few degrees to either side, as matrices."""
    angles = np.radians([0.0, 4.0, -4.0, 9.0, -9.0])
    cos, sin = np.cos(angles), np.sin(angles)
    turned = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)
    return np.asarray((_PARTS[:, None, None, None] * turned).reshape(-1, 2, 2))


_TURNS = _turns()


def _length(vector_2: Floats) -> float:
    return hypot(*vector_2.tolist())


def _fan() -> Floats:
    """Speeds all around, as parts of the highest."""
    angles = np.arange(24) * (2.0 * np.pi / 24)
    ways = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    speeds = np.array([0.1, 0.25, 0.5, 0.75, 1.0])
    return np.asarray((speeds[:, None, None] * ways).reshape(-1, 2))


_FAN = _fan()
_FIRST = (24, 72)
"""How many candidates, the nearest to the wish first, are looked at in one go, and in two."""
