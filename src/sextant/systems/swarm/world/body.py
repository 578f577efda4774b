"""Bodies: points with bounded acceleration, drag, wind, and a battery. All drones at once.

Shape suffixes: N drones, B steps drawn ahead.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sextant.systems.swarm.world.grid import Floats

_BLOCK = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class BodyRule:
    """What a drone can do, and what the air does to it.

    Attributes:
        acceleration_m_s2: the most that its rotors give in any direction.
        speed_m_s: a setpoint beyond it is cut to it.
        response_s: the autopilot closes a velocity error in about this time.
        drag_per_s: deceleration a metre per second of speed through the air.
        wind_m_s: the standard deviation of the wind, each way.
        gust_s: how long a gust lasts.
        battery_s: how long a full battery hovers.
        motion_share: extra drain at full speed, as a share of hovering.
    """

    acceleration_m_s2: float = 8.0
    speed_m_s: float = 3.0
    response_s: float = 0.15
    drag_per_s: float = 0.25
    wind_m_s: float = 0.5
    gust_s: float = 3.0
    battery_s: float = 900.0
    motion_share: float = 0.3


@dataclass(kw_only=True, slots=True)
class Bodies:
    """The true state of all drones; the wind of each has its own random stream."""

    positions_N2: Floats
    velocities_N2: Floats
    wind_N2: Floats
    battery_N: Floats
    streams: list[np.random.Generator] = field(repr=False)
    _gusts_BN2: Floats = field(repr=False)

    @classmethod
    def at(cls, positions_N2: Floats, streams: list[np.random.Generator]) -> Bodies:
        """At rest, with full batteries."""
        still = np.zeros_like(positions_N2)
        return cls(
            positions_N2=positions_N2.copy(),
            velocities_N2=still.copy(),
            wind_N2=still,
            battery_N=np.ones(len(positions_N2)),
            streams=streams,
            _gusts_BN2=np.empty((0, *positions_N2.shape)),
        )

    def step(self, setpoints_N2: Floats, rule: BodyRule, dt_s: float) -> None:
        """Fly for `dt_s` towards velocity setpoints; an empty battery holds no speed.

        Semi-implicit Euler, in steps of at most 10 ms.
        """
        num_steps = max(1, int(np.ceil(dt_s / 0.01)))
        h = dt_s / num_steps
        wanted_N2 = limited(setpoints_N2, rule.speed_m_s)
        wanted_N2 = np.where(self.battery_N[:, None] > 0, wanted_N2, 0.0)
        self._blow(rule, dt_s)
        for _ in range(num_steps):
            # The autopilot knows its drag in still air, and what it does not know is the wind.
            push_N2 = (wanted_N2 - self.velocities_N2) / rule.response_s
            push_N2 = limited(push_N2 + rule.drag_per_s * wanted_N2, rule.acceleration_m_s2)
            drag_N2 = rule.drag_per_s * (self.wind_N2 - self.velocities_N2)
            self.velocities_N2 = self.velocities_N2 + h * (push_N2 + drag_N2)
            self.positions_N2 = self.positions_N2 + h * self.velocities_N2
        speed_N = _lengths(self.velocities_N2) / rule.speed_m_s
        drain_N = (1.0 + rule.motion_share * speed_N) * dt_s / rule.battery_s
        self.battery_N = np.maximum(self.battery_N - drain_N, 0.0)

    def _blow(self, rule: BodyRule, dt_s: float) -> None:
        """Wind as an Ornstein-Uhlenbeck process, cut at three deviations."""
        keep = float(np.exp(-dt_s / rule.gust_s))
        spread = rule.wind_m_s * float(np.sqrt(1.0 - keep * keep))
        if not len(self._gusts_BN2):
            drawn = [stream.standard_normal((_BLOCK, 2)) for stream in self.streams]
            self._gusts_BN2 = np.stack(drawn, axis=1)
        fresh_N2, self._gusts_BN2 = self._gusts_BN2[0], self._gusts_BN2[1:]
        bound = 3.0 * rule.wind_m_s
        self.wind_N2 = np.clip(keep * self.wind_N2 + spread * fresh_N2, -bound, bound)


def limited(vectors_N2: Floats, most: float) -> Floats:
    """The vectors, those that are longer than `most` cut to it."""
    scale_N = most / np.maximum(_lengths(vectors_N2), most)
    scaled: Floats = vectors_N2 * scale_N[:, None]
    return scaled


def _lengths(vectors_N2: Floats) -> Floats:
    return np.asarray(np.hypot(vectors_N2[:, 0], vectors_N2[:, 1]))
