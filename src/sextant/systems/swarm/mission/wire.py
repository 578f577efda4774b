"""The wire of a mission in real time: its keys, and what the simulator and the drones exchange."""

from __future__ import annotations

import threading
import time
from math import isfinite
from typing import Any

import numpy as np

from sextant.errors import InputError, missing_engine
from sextant.fleet import wire
from sextant.systems.swarm.world.grid import Floats
from sextant.systems.swarm.world.ground import CameraRule
from sextant.systems.swarm.world.sensors import Readings, SensorRule

_RAYS, _PIXELS = SensorRule().rays, CameraRule().pixels


class Keys:
    """The keys of one mission; its number is random, so that two never hear each other."""

    def __init__(self, mission: int) -> None:
        root = f"sextant-swarm/{mission}"
        self.hello = f"{root}/hello"
        self.abort = f"{root}/abort"
        self.truth = f"{root}/truth"
        self.words = f"{root}/word/*"
        self.tellings = f"{root}/telling/*"
        self.brain = f"{root}/brain"
        self.link = f"{root}/link"
        self.ups = f"{root}/up/*"
        self.counts = f"{root}/count/*"
        self._root = root

    def sense(self, drone: int) -> str:
        """Where a drone's readings come."""
        return f"{self._root}/sense/{drone}"

    def act(self, drone: int | str = "*") -> str:
        """Where a drone's setpoints go."""
        return f"{self._root}/act/{drone}"

    def word(self, drone: int) -> str:
        """Where a drone speaks to its peers."""
        return f"{self._root}/word/{drone}"

    def telling(self, drone: int) -> str:
        """Where a drone tells whoever watches how it is; nobody has to."""
        return f"{self._root}/telling/{drone}"

    def up(self, drone: int) -> str:
        """Where a drone's readings go on to a brain that is not on board."""
        return f"{self._root}/up/{drone}"

    def down(self, drone: int) -> str:
        """Where that brain's setpoints come."""
        return f"{self._root}/down/{drone}"

    def count(self, drone: int) -> str:
        """Where a drone on such a link tells how many ticks it had, and how many in vain."""
        return f"{self._root}/count/{drone}"


def pack_readings(readings: Readings, made_at_s: float) -> bytes:
    """Readings as a message; `made_at_s` is the wall time."""
    patch = readings.patch_PP
    return pack(
        [
            readings.at_s,
            readings.position_2.tolist(),
            readings.velocity_2.tolist(),
            readings.turn,
            readings.ranges_R.astype("<f4").tobytes(),
            None if patch is None else [patch.shape[0], patch.astype("<f4").tobytes()],
            readings.battery,
            made_at_s,
        ]
    )


def unpack_readings(body: bytes) -> tuple[Readings, float]:
    """The readings in a message, and the wall time at which they were made.

    Raises:
        InputError: it is none, or not of this mission's sensors.
    """
    try:
        at_s, position, velocity, turn, ranges, patch, battery, made_at_s = unpack(body)
        readings = Readings(
            at_s=float(at_s),
            position_2=np.array(position, np.float64).reshape(2),
            velocity_2=np.array(velocity, np.float64).reshape(2),
            turn=float(turn),
            ranges_R=np.frombuffer(ranges, "<f4").astype(np.float64),
            patch_PP=None if patch is None else _patch(patch[1]),
            battery=float(battery),
        )
        if len(readings.ranges_R) != _RAYS:
            raise ValueError(f"{len(readings.ranges_R)} ranges")
        numbers = (at_s, *position, *velocity, turn, battery, made_at_s)
        if not all(map(isfinite, numbers)):
            raise ValueError("a place or time that is no number")
        return readings, float(made_at_s)
    except (TypeError, ValueError, IndexError, KeyError, OverflowError) as error:
        raise InputError(f"no readings: {error}") from error


def _patch(body: bytes) -> Floats:
    patch_PP = np.frombuffer(body, "<f4").reshape(_PIXELS, _PIXELS)
    if not np.isfinite(patch_PP).all():
        raise ValueError("a patch that is none")
    return patch_PP


class WireVehicle:
    """A body in the simulator: the drone's own readings come over the wire, and nothing else.

    Attributes:
        refused: messages that were no readings.
    """

    def __init__(self, session: Any, keys: Keys, drone: int) -> None:
        self._session, self._act = session, keys.act(drone)
        self.refused = 0
        self._newest: bytes | None = None
        self._come = threading.Condition()
        self._hearing = session.declare_subscriber(keys.sense(drone), wire.direct(self._hear))

    def sense(self, within_s: float) -> tuple[Readings, float] | None:
        """The newest readings, each once; see `Vehicle.sense`."""
        until_s = time.monotonic() + within_s
        while True:
            left_s = until_s - time.monotonic()
            with self._come:
                self._come.wait_for(lambda: self._newest is not None, timeout=max(0.0, left_s))
                body, self._newest = self._newest, None
            if body is None:
                return None
            try:
                return unpack_readings(body)
            except InputError:
                self.refused += 1
                if left_s <= 0.0:
                    return None

    def fly(self, setpoint_2: Floats, made_from_s: float) -> None:
        """Send a setpoint."""
        body = pack([made_from_s, setpoint_2.tolist(), False])
        self._session.put(self._act, body)

    def land(self) -> None:
        """Send the order to come down."""
        self._session.put(self._act, pack([time.time(), [0.0, 0.0], True]))

    def _hear(self, sample: Any) -> None:
        wire.settle()
        with self._come:
            self._newest = sample.payload.to_bytes()
            self._come.notify()


def pack(told: Any) -> bytes:
    """A message."""
    return bytes(_msgpack().packb(told))


def unpack(body: bytes) -> Any:
    """What is in a message.

    Raises:
        ValueError: it is none.
    """
    try:
        return _msgpack().unpackb(body, strict_map_key=False)
    except _msgpack().UnpackException as error:
        raise ValueError(str(error)) from error


def _msgpack() -> Any:
    try:
        import msgpack
    except ImportError:
        raise missing_engine("msgpack", "swarm") from None
    return msgpack
