"""Against the wind that a drone's autopilot does not know: who stands would drift off with it.

Pressed between a neighbour and a wall a drone may have to stand for seconds, and a few centimetres
a second carry it through its margin.
"""

from __future__ import annotations

from math import hypot

import numpy as np

from sextant.systems.swarm.world.grid import Floats

_STANDING_M_S, _SLOW_M_S = 0.05, 0.2
_GAIN_PER_S, _MOST_M_S, _KEPT = 1.0, 0.08, 0.97


class Trim:
    """What a drone's setpoint is mended by; learnt while it stands, from how it drifts."""

    def __init__(self, period_s: float) -> None:
        self._period_s, self._trim_2 = period_s, np.zeros(2)

    def flown(self, setpoint_2: Floats, velocity_2: Floats) -> Floats:
        """The setpoint to send for the one that was decided on."""
        if hypot(*setpoint_2.tolist()) > _STANDING_M_S:
            self._trim_2 = _KEPT * self._trim_2
            return setpoint_2
        if hypot(*velocity_2.tolist()) < _SLOW_M_S:
            trim_2 = self._trim_2 - _GAIN_PER_S * self._period_s * velocity_2
            self._trim_2 = trim_2 * min(1.0, _MOST_M_S / max(hypot(*trim_2.tolist()), 1e-9))
        return setpoint_2 + self._trim_2
