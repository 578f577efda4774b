"""What a drone is told: its own readings, with their errors.

Shape suffixes: N drones, B steps drawn ahead, R rays, P pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sextant.systems.swarm.world.grid import Floats

_BLOCK = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class SensorRule:
    """Errors of the sensors; every error is bounded by three deviations.

    Attributes:
        rays: directions of the range sensor, all around.
        reach_m: how far it sees.
        range_noise_m: deviation of a range.
        dropout_probability: a ray brings nothing (NaN).
        position_noise_m: deviation of a position, anew each reading.
        drift_m: deviation of the slow part of a position's error.
        drift_s: how slow.
        velocity_noise_m_s: deviation of a velocity.
    """

    rays: int = 48
    reach_m: float = 8.0
    range_noise_m: float = 0.02
    dropout_probability: float = 0.02
    position_noise_m: float = 0.02
    drift_m: float = 0.05
    drift_s: float = 60.0
    velocity_noise_m_s: float = 0.02

    @property
    def position_error_m(self) -> float:
        """The most by which a position is off, each way."""
        return 3.0 * (self.position_noise_m + self.drift_m)


@dataclass(frozen=True, kw_only=True, slots=True)
class Readings:
    """One drone's own readings at one time, and nothing of anybody else.

    Attributes:
        at_s: the world's time.
        position_2: metres, with error and drift.
        velocity_2: metres a second.
        turn: angle of the first ray in radians; it spins, so that nothing thin stays hidden.
        ranges_R: metres a ray, infinite where nothing is within reach, NaN where it dropped out.
        patch_PP: the camera's patch; None on ticks without a frame.
        battery: 1 is full.
    """

    at_s: float
    position_2: Floats
    velocity_2: Floats
    turn: float
    ranges_R: Floats
    patch_PP: np.ndarray | None
    battery: float


def bounded_normal(stream: np.random.Generator, shape: int, deviation: float) -> Floats:
    """Normal errors, those beyond three deviations cut to three."""
    return np.minimum(np.maximum(stream.standard_normal(shape), -3.0), 3.0) * deviation


class Drift:
    """The slow part of each drone's position error: processes that return to zero.

    Attributes:
        error_N2: metres, now.
    """

    def __init__(self, rule: SensorRule, streams: Sequence[np.random.Generator]) -> None:
        self._rule, self._streams = rule, streams
        self._fresh_BN2: Floats = np.empty((0, len(streams), 2))
        self.error_N2 = np.stack([bounded_normal(stream, 2, rule.drift_m) for stream in streams])

    def step(self, dt_s: float) -> None:
        """Let time pass."""
        keep = float(np.exp(-dt_s / self._rule.drift_s))
        spread = self._rule.drift_m * float(np.sqrt(1.0 - keep * keep))
        bound = 3.0 * self._rule.drift_m
        if not len(self._fresh_BN2):
            drawn = [stream.standard_normal((_BLOCK, 2)) for stream in self._streams]
            self._fresh_BN2 = np.stack(drawn, axis=1)
        fresh_N2, self._fresh_BN2 = self._fresh_BN2[0], self._fresh_BN2[1:]
        self.error_N2 = np.clip(keep * self.error_N2 + spread * fresh_N2, -bound, bound)
