"""One drone as a process of its own: a loop with a deadline, between a vehicle and its peers."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sextant.axes import Axis
from sextant.errors import EngineError
from sextant.fleet import wire
from sextant.fleet.ledger import Ledger
from sextant.systems.swarm.drone.chart import Chart
from sextant.systems.swarm.drone.perception import OnnxDetector
from sextant.systems.swarm.drone.pilot import Act, Phase, Pilot, PilotRule
from sextant.systems.swarm.drone.safety import SafetyRule
from sextant.systems.swarm.drone.telling import telling
from sextant.systems.swarm.drone.vehicle import Vehicle
from sextant.systems.swarm.mission.orders import DroneOrders, publish
from sextant.systems.swarm.mission.wire import Keys, WireVehicle, pack
from sextant.systems.swarm.world.sensors import Readings

_AXES = {
    "perceive": Axis.INFERENCE,
    "map": Axis.INTELLIGENCE,
    "agree": Axis.COORDINATION,
    "plan": Axis.INTELLIGENCE,
    "control": Axis.INTELLIGENCE,
    "speak": Axis.COORDINATION,
}
_REACT_PERIODS = 3.0
"""From readings being made to a setpoint from them acting: the loop, and both ways on the wire."""
LOOK_S, BLIND_S = 0.5, 5.0
"""Without readings for so long, in looks of so long, a drone gives up: it has no body any more.
Looks, not a clock: a machine that stood still for a while has taken nobody's body.
"""
READY_S = 60.0
"""How long everybody waits for the others to be there."""
_FRESH_S, _FRESH_PERIODS = 1.5, 6.0
_HELLO_S = 0.2
_TELL_TICKS = 8
_LAST_WORDS = 5
_WARM_TICKS, _BESIDE_M = 24, 1.5
_MOST_WORDS = 1024
"""Of peers may wait; who does not listen for so long hears the newest."""


class _Stage:
    """Opened around a stage; one object serves all its ticks, for a tick opens six of them."""

    def __init__(self, axis: Axis, ledger: Ledger, took_s: list[float]) -> None:
        self._axis, self._ledger, self._took_s = axis, ledger, took_s
        self._begun_s = self._begun_cpu_s = 0.0

    def __enter__(self) -> None:
        self._begun_s, self._begun_cpu_s = time.perf_counter(), time.thread_time()

    def __exit__(self, *_: object) -> None:
        self._ledger.charge(self._axis, busy_s=time.thread_time() - self._begun_cpu_s)
        self._took_s.append(time.perf_counter() - self._begun_s)


class Books:
    """How long each stage took, charged to the ledger too."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.stages_s: dict[str, list[float]] = {name: [] for name in _AXES}
        self._stages = {
            name: _Stage(_AXES[name], self.ledger, took_s) for name, took_s in self.stages_s.items()
        }
        self.loops_s: list[float] = []
        self.missed = self.overtaken = 0
        self._last_s: float | None = None
        self.words = 0
        self.words_bytes = 0
        self._begun_cpu_s = 0.0

    def begin(self) -> None:
        """From here on, what a mission costs; what it took to start is not of it."""
        self._begun_cpu_s = time.process_time()

    def sensed(self, at_s: float, period_s: float) -> None:
        """Take note of readings; those in between that were overtaken got no answer in time."""
        if self._last_s is not None:
            overtaken = max(0, round((at_s - self._last_s) / period_s) - 1)
            self.overtaken += overtaken
            self.missed += overtaken
        self._last_s = at_s

    def ticks(self) -> int:
        """Periods in which there were readings."""
        return len(self.loops_s) + self.overtaken

    def stage(self, name: str) -> AbstractContextManager[None]:
        """To be opened around a stage."""
        return self._stages[name]

    def figures(self) -> dict[str, Any]:
        """What they come to."""
        loops_s = self.loops_s or [0.0]
        return {
            "ticks": self.ticks(),
            "overtaken": self.overtaken,
            "missed_deadlines": self.missed,
            "loop_p50_s": float(np.percentile(loops_s, 50)),
            "loop_p99_s": float(np.percentile(loops_s, 99)),
            "stages_p50_s": {n: float(np.median(t or [0.0])) for n, t in self.stages_s.items()},
            "stages_mean_s": {
                n: sum(t) / max(1, len(self.loops_s)) for n, t in self.stages_s.items()
            },
            "ledger": self.ledger.snapshot(),
            "words": self.words,
            "words_bytes": self.words_bytes,
            "cpu_s": time.process_time() - self._begun_cpu_s,
        }


class Mailbox:
    """Words of peers that came since the last tick; some are dropped, to try out a bad link.

    They wait on the wire's side: none interrupts a tick, nor is the interpreter woken for each.
    """

    def __init__(self, session: Any, key: str, loss: float, seed: int) -> None:
        self._loss, self._stream = loss, np.random.default_rng(seed)
        self._waiting = session.declare_subscriber(key, wire.newest(_MOST_WORDS))

    def empty(self) -> list[bytes]:
        """All words, each once."""
        words = []
        while (sample := self._waiting.try_recv()) is not None:
            if self._stream.random() >= self._loss:
                words.append(sample.payload.to_bytes())
        return words


def run_drone(orders: DroneOrders) -> None:
    """Fly until landed. Nothing but its vehicle can end it early; a vehicle that is gone does.

    Raises:
        EngineError: it cannot listen at its endpoint, or no vehicle came.
    """
    keys = Keys(orders.mission)
    warm(pilot_rule(orders))
    session = wire.peer(orders.listen, orders.peers)
    try:
        mailbox = Mailbox(session, keys.words, orders.loss, orders.seed)
        pilot = Pilot(replace(pilot_rule(orders), boot=int(time.time()) & 0xFFFF))
        vehicle = WireVehicle(session, keys, orders.name)
        hearing = session.declare_subscriber(keys.abort, wire.direct(lambda _sample: pilot.abort()))
        books = Books()

        def speak(key: str, body: bytes) -> None:
            session.put(key, body)

        _fly(orders, pilot, vehicle, mailbox, books, speak)
        if orders.report:
            publish(Path(orders.report), _report(pilot, books))
        del hearing
    finally:
        session.close()


def warm(rule: PilotRule) -> None:
    """Load on the ground all that a tick needs: who loads it in the air misses deadlines there.

    Some ticks beside a peer and a wall, for the interpreter too is slower at what is new to it.
    """
    detector = OnnxDetector(rule.camera)
    pilot, peer = Pilot(rule, detector), Pilot(replace(rule, name=rule.name ^ 1), detector)
    readings = Readings(
        at_s=0.0,
        position_2=rule.home_2,
        velocity_2=np.zeros(2),
        turn=0.0,
        ranges_R=np.where(np.arange(rule.sensors.rays) % 3, np.inf, 1.5),
        patch_PP=np.zeros((rule.camera.pixels, rule.camera.pixels), np.float32),
        battery=1.0,
    )
    for tick in range(_WARM_TICKS):
        readings = replace(readings, at_s=tick * rule.period_s)
        beside = replace(readings, position_2=rule.home_2 + _BESIDE_M)
        word = peer.tick(beside, []).word
        pilot.tick(readings, [] if word is None else [word])


def pilot_rule(orders: DroneOrders) -> PilotRule:
    """The rule of the mind that these orders ask for."""
    chart = orders.chart
    return PilotRule(
        mission=orders.mission,
        name=orders.name,
        home_2=np.array(orders.home_m),
        chart=Chart(
            rows=chart.rows, columns=chart.columns, cell_m=chart.cell_m, origin_m=chart.origin_m
        ),
        period_s=orders.period_s,
        battery_s=orders.battery_s,
        fresh_s=max(_FRESH_S, _FRESH_PERIODS * orders.period_s),
        safety=SafetyRule(react_s=_REACT_PERIODS * orders.period_s, late_s=orders.period_s),
    )


def _fly(
    orders: DroneOrders,
    pilot: Pilot,
    vehicle: Vehicle,
    mailbox: Mailbox,
    books: Books,
    speak: Callable[[str, bytes], None],
) -> None:
    """The loop. What it decides too late is not flown: the drone stops instead."""
    keys = Keys(orders.mission)
    # On the ground still: sixteen who tidy up at the same time would hold up their first ticks.
    gc.collect()
    gc.freeze()
    begin(vehicle, orders, speak)
    seen_C = np.zeros(pilot.rule.chart.num_cells, np.bool_)
    blind_s, ticks = 0.0, 0
    books.begin()
    while pilot.phase is not Phase.LANDED and blind_s < BLIND_S:
        sensed = vehicle.sense(LOOK_S)
        if sensed is None:
            blind_s += LOOK_S
            continue
        blind_s = 0.0
        readings, made_at_s = sensed
        books.sensed(readings.at_s, orders.period_s)
        act = pilot.tick(readings, mailbox.empty(), books.stage)
        _answer(act, readings, made_at_s + orders.period_s, vehicle, books)
        books.loops_s.append(time.time() - made_at_s)
        if act.word is not None:
            books.words += 1
            books.words_bytes += len(act.word)
            speak(keys.word(orders.name), act.word)
        ticks += 1
        if ticks % _TELL_TICKS == orders.name % _TELL_TICKS:
            speak(keys.telling(orders.name), pack(tell(pilot, readings, books, seen_C)))
    vehicle.land()
    for _ in range(_LAST_WORDS):
        speak(keys.word(orders.name), pilot.last_word())
        time.sleep(orders.period_s)


def begin(vehicle: Vehicle, orders: DroneOrders, speak: Callable[[str, bytes], None]) -> Readings:
    """Say hello until the first readings come; on stderr, what is waited for.

    Raises:
        EngineError: none came.
    """
    places = ", ".join(orders.peers) or orders.listen
    print(f"drone {orders.name} waits {READY_S:g} s for readings: {places}", file=sys.stderr)
    until_s = time.monotonic() + READY_S
    while time.monotonic() < until_s:
        speak(Keys(orders.mission).hello, pack([orders.name, os.getpid()]))
        sensed = vehicle.sense(within_s=_HELLO_S)
        if sensed is not None:
            return sensed[0]
    hint = "is the vehicle's adapter, or `swarm simulate`, up, and its endpoint one of the peers?"
    raise EngineError(f"no vehicle came: no readings in {READY_S:g} s", where=places, hint=hint)


def _answer(
    act: Act, readings: Readings, deadline_s: float, vehicle: Vehicle, books: Books
) -> None:
    """Fly what was decided, if it was in time; else stop."""
    if time.time() > deadline_s:
        books.missed += 1
        vehicle.fly(np.zeros(2), readings.at_s)
    else:
        vehicle.fly(act.setpoint_2, readings.at_s)


def tell(pilot: Pilot, readings: Readings, books: Books, told_C: np.ndarray) -> dict[str, Any]:
    """For whoever watches: where it believes to be, what it is about, what it saw anew."""
    fresh_C = pilot.shared.seen_C & ~told_C
    told_C |= fresh_C
    return {
        **telling(pilot, books.loops_s[-1]),
        "at_s": readings.at_s,
        "position": readings.position_2.tolist(),
        "seen": np.flatnonzero(fresh_C).tolist(),
    }


def _report(pilot: Pilot, books: Books) -> dict[str, Any]:
    """What a drone has to say at the end."""
    return {
        "name": pilot.rule.name,
        "phase": str(pilot.phase),
        "aborted": pilot.aborted,
        **books.figures(),
        "seen": np.flatnonzero(pilot.shared.seen_C).tolist(),
        "targets": [spot.tolist() for spot in pilot.targets.confirmed()],
    }
