"""A drone's link to its brain: it takes time, and loses things. On board it takes none.

Shape suffixes: none; one drone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sextant.systems.swarm.world.grid import Floats
from sextant.systems.swarm.world.sensors import Readings


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkRule:
    """A link.

    Attributes:
        round_trip_s: there and back.
        jitter_s: deviation of it; a trip never takes less than none.
        loss_probability: a packet is lost on one way.
        outage_s: (from, to): nothing passes; None for no outage.
    """

    round_trip_s: float = 0.0
    jitter_s: float = 0.0
    loss_probability: float = 0.0
    outage_s: tuple[float, float] | None = None


class Dice:
    """What a link does to each packet."""

    def __init__(self, rule: LinkRule, stream: np.random.Generator) -> None:
        self.rule, self._stream = rule, stream

    def one_way_s(self) -> float:
        """How long the next packet takes."""
        jitter_s = self.rule.jitter_s * float(self._stream.standard_normal())
        return max(0.0, 0.5 * (self.rule.round_trip_s + jitter_s))

    def is_lost(self, at_s: float) -> bool:
        """Whether a packet of this time of the mission is lost."""
        lost = bool(self._stream.random() < self.rule.loss_probability)
        outage = self.rule.outage_s
        return lost or (outage is not None and outage[0] <= at_s < outage[1])


class Link:
    """Readings go up and setpoints come down; who comes late is overtaken, never queued."""

    def __init__(self, rule: LinkRule, stream: np.random.Generator) -> None:
        self._dice = Dice(rule, stream)
        self._up: list[tuple[float, Readings]] = []
        self._down: list[tuple[float, float, Floats]] = []
        self.num_bytes = 0

    def send_up(self, readings: Readings) -> None:
        """Readings leave the drone as soon as they are made."""
        self.num_bytes += 8 * len(readings.ranges_R) + 64
        if readings.patch_PP is not None:
            self.num_bytes += readings.patch_PP.nbytes
        if not self._dice.is_lost(readings.at_s):
            self._up.append((readings.at_s + self._dice.one_way_s(), readings))

    def at_brain(self, by_s: float) -> tuple[float, Readings] | None:
        """The newest readings that reached the brain by a time, and when; each once."""
        arrived = [packet for packet in self._up if packet[0] <= by_s]
        if not arrived:
            return None
        newest = max(arrived, key=lambda packet: packet[1].at_s)
        self._up = [packet for packet in self._up if packet[0] > by_s]
        return newest

    def send_down(self, sent_s: float, made_from_s: float, setpoint_2: Floats) -> None:
        """A setpoint leaves the brain; `made_from_s` is the time of the readings behind it."""
        self.num_bytes += 32
        if not self._dice.is_lost(sent_s):
            self._down.append((sent_s + self._dice.one_way_s(), made_from_s, setpoint_2))

    def at_drone(self, by_s: float) -> tuple[float, Floats] | None:
        """The setpoint from the newest readings that reached the drone by a time."""
        arrived = [packet for packet in self._down if packet[0] <= by_s + 1e-9]
        if not arrived:
            return None
        _, made_from_s, setpoint_2 = max(arrived, key=lambda packet: packet[1])
        self._down = [p for p in self._down if p[1] >= made_from_s]
        return made_from_s, setpoint_2
