"""The world: moves the bodies, makes their readings, and counts what they hit.

Shape suffixes: N drones, R rays, T targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sextant.errors import InputError
from sextant.systems.swarm.world.body import Bodies, BodyRule
from sextant.systems.swarm.world.grid import Floats, Grid, Layer
from sextant.systems.swarm.world.ground import CameraRule, Ground, texture
from sextant.systems.swarm.world.rays import cast, cast_at_discs, fan
from sextant.systems.swarm.world.sensors import Drift, Readings, SensorRule, bounded_normal

_STEP_S = 0.01
_FAR_M, _SPARE_M = 1e9, 1e-3
_STARTS = "--config: starts_m"
# Names of random streams: each drone's wind, sensors and camera have one of their own, so that no
# reading depends on who else was asked for one.
_GROUND, _WIND, _SENSORS, _CAMERA, _DRIFT = range(5)


@dataclass(frozen=True, kw_only=True, slots=True)
class WorldRule:
    """The physics of one mission; `radius_m` is a drone's, `altitude_m` where all fly."""

    seed: int = 0
    radius_m: float = 0.3
    altitude_m: float = 1.5
    body: BodyRule = field(default_factory=BodyRule)
    sensors: SensorRule = field(default_factory=SensorRule)
    camera: CameraRule = field(default_factory=CameraRule)


@dataclass(frozen=True, kw_only=True, slots=True)
class Collision:
    """Two drones, or a drone and a wall (`other` is None), met."""

    at_s: float
    drone: int
    other: int | None


class World:
    """All drones' true state. Deterministic: the same seed and setpoints give the same flight."""

    def __init__(self, grid: Grid, rule: WorldRule, starts_N2: Floats, targets_T2: Floats) -> None:
        """Put the drones at their starts, at rest.

        Raises:
            InputError: a start is inside a wall, or two are too near each other.
        """
        self.grid, self.rule = grid, rule
        self.layer: Layer = grid.layer(rule.altitude_m)
        check_starts(self.layer, starts_N2, rule.radius_m)
        self.now_s = 0.0
        self.collisions: list[Collision] = []
        self.least_gap_m = np.inf
        self.flying_N = np.ones(len(starts_N2), np.bool_)
        numbers = range(len(starts_N2))
        self.bodies = Bodies.at(starts_N2, [self._stream(_WIND, n) for n in numbers])
        self.ground = Ground(rule.camera, texture(self._stream(_GROUND, 0)), targets_T2)
        self._senses = [self._stream(_SENSORS, n) for n in numbers]
        self._cameras = [self._stream(_CAMERA, n) for n in numbers]
        self._drift = Drift(rule.sensors, [self._stream(_DRIFT, n) for n in numbers])
        self._touching: set[tuple[int, int | None]] = set()

    def step(self, setpoints_N2: Floats, dt_s: float) -> None:
        """Let time pass while the drones follow velocity setpoints; those that landed stay."""
        setpoints_N2 = np.where(self.flying_N[:, None], setpoints_N2, 0.0)
        num_steps = max(1, round(dt_s / _STEP_S))
        for _ in range(num_steps):
            before_N2 = self.bodies.positions_N2
            self.bodies.step(setpoints_N2, self.rule.body, dt_s / num_steps)
            landed_N = ~self.flying_N
            self.bodies.positions_N2[landed_N] = before_N2[landed_N]
            self.bodies.velocities_N2[landed_N] = 0.0
            self.now_s += dt_s / num_steps
            self._collide()
        self._drift.step(dt_s)

    def land(self, drone: int) -> None:
        """A drone comes down where it is, and is in nobody's way any more."""
        self.flying_N[drone] = False

    def sense(self, drones: Sequence[int], *, frame: bool = True) -> list[Readings]:
        """The own readings of each of some drones now; without `frame` no camera is read."""
        ranges_NR = self._true_ranges(drones)
        return [
            self._readings(drone, ranges_R, frame=frame)
            for drone, ranges_R in zip(drones, ranges_NR, strict=True)
        ]

    def _true_ranges(self, drones: Sequence[int]) -> Floats:
        """One cast for all drones [N, R], since a cast costs the same for few rays and many."""
        rule, at_N2 = self.rule.sensors, self.bodies.positions_N2
        starts_M2 = np.repeat(at_N2[list(drones)], rule.rays, axis=0)
        ways_M2 = np.tile(fan(rule.rays, self._turn()), (len(drones), 1))
        ranges_M = cast(self.layer, starts_M2, ways_M2, rule.reach_m)
        others_NK2 = self._others(drones)
        if others_NK2.size:
            others_MK2 = np.repeat(others_NK2, rule.rays, axis=0)
            drones_M = cast_at_discs(starts_M2, ways_M2, others_MK2, self.rule.radius_m)
            drones_M[drones_M > rule.reach_m] = np.inf
            ranges_M = np.minimum(ranges_M, drones_M)
        return ranges_M.reshape(len(drones), rule.rays)

    def _others(self, drones: Sequence[int]) -> Floats:
        """Where others fly that some ray may reach, a row a drone [N, K, 2]; it itself far off."""
        at_N2, reach_m = self.bodies.positions_N2, self.rule.sensors.reach_m + self.rule.radius_m
        to_NK2 = at_N2 - at_N2[list(drones), None]
        near_NK = to_NK2[..., 0] ** 2 + to_NK2[..., 1] ** 2 < (reach_m + _SPARE_M) ** 2
        near_NK[:, ~self.flying_N] = False
        near_NK[np.arange(len(drones)), list(drones)] = False
        near_K = near_NK.any(axis=0)
        others_NK2 = np.repeat(at_N2[None, near_K], len(drones), axis=0)
        others_NK2[~near_NK[:, near_K]] = _FAR_M
        return others_NK2

    def _turn(self) -> float:
        """The sensor's angle: by the golden ratio, so that rays soon have been everywhere."""
        scans = round(self.now_s / _STEP_S)
        return scans * 0.6180339887 % 1.0 * 2.0 * np.pi / self.rule.sensors.rays

    def _readings(self, drone: int, ranges_R: Floats, *, frame: bool) -> Readings:
        rule, stream = self.rule.sensors, self._senses[drone]
        at_2 = self.bodies.positions_N2[drone]
        errors = bounded_normal(stream, 4 + rule.rays, 1.0)
        error_2 = self._drift.error_N2[drone] + rule.position_noise_m * errors[:2]
        velocity_error_2 = rule.velocity_noise_m_s * errors[2:4]
        noisy_R = ranges_R + rule.range_noise_m * errors[4:]
        lost_R = stream.random(rule.rays) < rule.dropout_probability
        return Readings(
            at_s=self.now_s,
            position_2=at_2 + error_2,
            velocity_2=self.bodies.velocities_N2[drone] + velocity_error_2,
            turn=self._turn(),
            ranges_R=np.where(lost_R, np.nan, np.maximum(noisy_R, 0.0)),
            patch_PP=self.ground.patch(at_2, self._cameras[drone]) if frame else None,
            battery=float(self.bodies.battery_N[drone]),
        )

    def _collide(self) -> None:
        """Note who touches what; a touch counts once until it ends."""
        at_N2, radius_m = self.bodies.positions_N2, self.rule.radius_m
        touching: set[tuple[int, int | None]] = set()
        flying = np.flatnonzero(self.flying_N)
        walls_N = self.layer.distances(at_N2[flying], radius_m)
        touching |= {(int(drone), None) for drone in flying[walls_N < radius_m]}
        up_N2 = at_N2[flying]
        gaps_NN = np.hypot(*(up_N2[:, None] - up_N2[None, :]).transpose(2, 0, 1))
        np.fill_diagonal(gaps_NN, np.inf)
        least_m = float(gaps_NN.min(initial=np.inf))
        self.least_gap_m = min(self.least_gap_m, least_m)
        if least_m < 2 * radius_m:
            for one, two in np.argwhere(np.triu(gaps_NN < 2 * radius_m)):
                touching.add((int(flying[one]), int(flying[two])))
        for who, met in sorted(touching - self._touching, key=str):
            self.collisions.append(Collision(at_s=self.now_s, drone=who, other=met))
        self._touching = touching

    def _stream(self, what: int, drone: int) -> np.random.Generator:
        return np.random.default_rng((self.rule.seed, what, drone))


def check_starts(layer: Layer, starts_N2: Floats, radius_m: float) -> None:
    """Refuse starts that are no places to start from.

    Raises:
        InputError: one is inside a wall or touches one, or two touch each other.
    """
    for drone, start_2 in enumerate(starts_N2):
        if layer.distance(start_2, 2 * radius_m) <= radius_m:
            x, y = start_2
            raise InputError(
                f"drone {drone} would start inside a wall, at ({x:.2f}, {y:.2f})", where=_STARTS
            )
        gaps = np.hypot(*(starts_N2[:drone] - start_2).T)
        if drone and gaps.min() <= 2 * radius_m:
            other = int(gaps.argmin())
            raise InputError(f"drones {other} and {drone} start too near", where=_STARTS)
