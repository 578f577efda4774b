"""What comes over the wire of a flight and should not, and what does not come: it is counted."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sextant.systems.swarm.drone.process import Books
from sextant.systems.swarm.mission.orders import BrainOrders, ChartOrders, DroneOrders, LinkOrders
from sextant.systems.swarm.mission.wire import Keys, WireVehicle, pack, pack_readings
from sextant.systems.swarm.placement import brain
from sextant.systems.swarm.world.ground import CameraRule
from sextant.systems.swarm.world.process import Autopilots
from sextant.systems.swarm.world.sensors import Readings, SensorRule


class Wire:
    """A session that goes nowhere: what is put is kept, and what was there is handed out."""

    def __init__(self, waiting: dict[str, list[tuple[str, bytes]]] | None = None) -> None:
        self.put_bodies: list[tuple[str, bytes]] = []
        self._waiting = waiting or {}
        self.heard: Any = None

    def put(self, key: str, body: bytes) -> None:
        self.put_bodies.append((key, body))

    def declare_subscriber(self, key: str, _handler: Any) -> Any:
        samples = [sample(name, body) for name, body in self._waiting.get(key, [])]
        return SimpleNamespace(try_recv=lambda: samples.pop(0) if samples else None)


def sample(key: str, body: bytes) -> Any:
    return SimpleNamespace(key_expr=key, payload=SimpleNamespace(to_bytes=lambda: body))


def readings(at_s: float) -> Readings:
    pixels = CameraRule().pixels
    return Readings(
        at_s=at_s,
        position_2=np.array([2.0, 2.0]),
        velocity_2=np.zeros(2),
        turn=0.0,
        ranges_R=np.full(SensorRule().rays, np.inf),
        patch_PP=np.zeros((pixels, pixels), np.float32),
        battery=1.0,
    )


def hostile() -> list[bytes]:
    good = pack_readings(readings(1.0), 0.0)
    told = [1.0, [2.0, 2.0], [0.0, 0.0], 0.0, b"", None, 1.0, 0.0]
    rays = np.zeros(SensorRule().rays, "<f4").tobytes()
    return [
        b"",
        b"\xc1",
        good[:-3],
        pack(told),
        pack([*told[:4], rays, [32, b"1234"], 1.0, 0.0]),
        pack([*told[:4], rays, [32], 1.0, 0.0]),
        pack([float("nan"), *told[1:4], rays, None, 1.0, 0.0]),
        pack([1.0, [2.0, 1e400], *told[2:4], rays, None, 1.0, 0.0]),
    ]


def test_a_bad_packet_is_refused_and_the_next_good_one_taken() -> None:
    inbox = brain.Inbox()
    inbox.hear(sample("root/up/none", b""))
    for body in hostile():
        inbox.hear(sample("root/up/0", body))
        assert inbox.take(0.0) is None
    inbox.hear(sample("root/up/0", pack_readings(readings(1.0), 0.0)))
    taken = inbox.take(0.0)
    assert taken is not None
    assert taken[1].at_s == 1.0
    assert inbox.refused == 1 + len(hostile())


def test_a_vehicle_passes_over_what_are_no_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("zenoh")
    monkeypatch.setattr("sextant.fleet.wire.settle", lambda: None)
    vehicle = WireVehicle(Wire(), Keys(1), 0)
    for body in hostile():
        vehicle._hear(sample("sense/0", body))
        assert vehicle.sense(0.0) is None
    vehicle._hear(sample("sense/0", pack_readings(readings(2.0), 5.0)))
    assert vehicle.sense(0.0) is not None
    assert vehicle.refused == len(hostile())


def brain_orders(folder: Path) -> BrainOrders:
    chart = ChartOrders(rows=4, columns=4, cell_m=1.0, origin_m=(0.0, 0.0))
    drone = DroneOrders(
        mission=1, name=0, home_m=(2.0, 2.0), chart=chart, listen="", peers=[], lost_link_s=10.0
    )
    return BrainOrders(
        mission=1,
        drones=[drone],
        listen="",
        peers=[],
        link=LinkOrders(),
        report=str(folder / "brain.json"),
    )


def test_a_brain_has_reported_when_all_is_quiet_before_it_gives_up(tmp_path: Path) -> None:
    orders = brain_orders(tmp_path)
    looks: list[bool] = []

    class Quiet(brain.Inbox):
        def take(self, _within_s: float) -> tuple[int, Readings] | None:
            if not looks:
                super().hear(sample("up/0", pack_readings(readings(1.0), 0.0)))
            else:
                # What is no readings keeps nobody in the air.
                super().hear(sample("up/0", b""))
            looks.append((tmp_path / "brain.json").exists())
            return super().take(0.0)

    link: Any = SimpleNamespace(num_bytes=7, send=lambda *_told: None)
    brain._think(orders, brain.Brain(orders), Quiet(), link, Wire())
    report = json.loads((tmp_path / "brain.json").read_bytes())
    told = (report["ticks"], report["words_bytes"], report["refused"])
    assert told == (1, 7, len(looks) - 1)
    # A fifth of a second each: reported within three seconds, and gone soon after ten.
    assert not looks[9]
    assert looks[14]
    assert 10.0 < 0.2 * len(looks) < 14.0


def test_readings_that_were_overtaken_are_missed_deadlines() -> None:
    books = Books()
    for tick in (4, 5, 6, 9, 10):
        books.sensed(0.05 * tick, 0.05)
        books.loops_s.append(0.01)
    figures = books.figures()
    assert figures["ticks"] == 7
    assert figures["missed_deadlines"] == figures["overtaken"] == 2


def test_who_never_gave_a_setpoint_is_silent_too_but_not_at_once() -> None:
    pytest.importorskip("zenoh")
    keys = Keys(1)
    hellos = [(keys.hello, pack([drone, 1])) for drone in (0, 1, 77, -1, "x")]
    told = [(keys.act(0), pack([9.0, [0.0, 0.0], False]))]
    pilots = Autopilots(Wire({keys.hello: hellos, keys.act(): told}), keys, 2)
    assert pilots.ready() == 2
    pilots.hear()
    assert pilots.silent(1.0) == set()
    assert pilots.silent(8.0) == {1}
    assert pilots.silent(9.5) == {0, 1}
