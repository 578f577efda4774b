"""A drone whose brain is elsewhere: readings go out, setpoints come back with a deadline.

What does not come back in time is not flown: the drone stops, and after long enough it lands.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from sextant.errors import EngineError
from sextant.fleet import wire
from sextant.systems.swarm.drone.pilot import Phase
from sextant.systems.swarm.drone.process import BLIND_S, LOOK_S, READY_S, Books, begin
from sextant.systems.swarm.drone.vehicle import Vehicle
from sextant.systems.swarm.mission.orders import DroneOrders, LinkOrders, publish
from sextant.systems.swarm.mission.wire import Keys, WireVehicle, pack, pack_readings, unpack
from sextant.systems.swarm.placement.late import LateSender
from sextant.systems.swarm.placement.link import LinkRule
from sextant.systems.swarm.world.grid import Floats


class Answers:
    """The newest answer of the brain, and whether anybody ordered to land."""

    def __init__(self) -> None:
        self.landing = self.aborted = False
        self.ready = threading.Event()
        self._newest: tuple[float, Floats] | None = None
        self._come = threading.Condition()

    def hear(self, sample: Any) -> None:
        """Take in an answer; one from older readings never replaces one from newer ones, and what
        is none is passed over.
        """
        try:
            made_from_s, (u, v), lands = unpack(sample.payload.to_bytes())
            setpoint_2, made_from_s = np.array([float(u), float(v)]), float(made_from_s)
        except (TypeError, ValueError):
            return
        with self._come:
            if self._newest is None or made_from_s > self._newest[0]:
                self._newest = (made_from_s, setpoint_2)
            self.landing = self.landing or bool(lands)
            self._come.notify()

    def abort(self, _sample: Any) -> None:
        """An operator lands everyone; no brain is asked."""
        with self._come:
            self.aborted = self.landing = True
            self._come.notify()

    def to(self, readings_at_s: float, until_s: float) -> Floats | None:
        """The setpoint from these very readings; None if it does not come by a wall time."""

        def there() -> bool:
            newest = self._newest
            return self.landing or (newest is not None and newest[0] >= readings_at_s)

        with self._come:
            self._come.wait_for(there, timeout=max(0.0, until_s - time.time()))
            came = self._newest is not None and self._newest[0] >= readings_at_s
            # Woken late is late, too: what is flown must have been there in time.
            if not came or self._newest is None or time.time() > until_s:
                return None
            return self._newest[1]


def link_of(body: bytes) -> LinkRule:
    """The link that an onlooker orders, to try several in one flight."""
    round_trip_s, jitter_s, loss = unpack(body)
    orders = LinkOrders(
        round_trip_s=float(round_trip_s), jitter_s=float(jitter_s), loss_probability=float(loss)
    )
    return orders.rule()


def run_tethered(orders: DroneOrders) -> None:
    """Fly as the brain says until it says to land; without it stop, and land in the end.

    Raises:
        EngineError: it cannot listen at its endpoint, or no brain or no vehicle came.
    """
    assert orders.link is not None
    keys = Keys(orders.mission)
    session = wire.peer(orders.listen, orders.peers)
    link = LateSender(session.put, orders.link.rule(), orders.seed)
    try:
        answers, books = Answers(), Books()
        vehicle = WireVehicle(session, keys, orders.name)
        hearing = [
            session.declare_subscriber(keys.down(orders.name), wire.direct(answers.hear)),
            session.declare_subscriber(keys.abort, wire.direct(answers.abort)),
            session.declare_subscriber(keys.brain, wire.direct(lambda _: answers.ready.set())),
            session.declare_subscriber(
                keys.link, wire.direct(lambda s: link.shape(link_of(s.payload.to_bytes())))
            ),
        ]
        print(f"drone {orders.name} waits {READY_S:g} s for its brain", file=sys.stderr)
        if not answers.ready.wait(READY_S):
            raise EngineError(f"no brain came in {READY_S:g} s", where=orders.listen)
        gc.collect()
        gc.freeze()
        begin(vehicle, orders, session.put)
        lost = _fly(orders, vehicle, answers, link, books, session)
        if orders.report:
            told = _report(orders.name, lost, books, link)
            publish(Path(orders.report), {**told, "aborted": answers.aborted})
        del hearing
    finally:
        link.close()
        session.close()


def _fly(
    orders: DroneOrders,
    vehicle: Vehicle,
    answers: Answers,
    link: LateSender,
    books: Books,
    session: Any,
) -> bool:
    """The loop; returns whether it landed because nobody answered."""
    keys = Keys(orders.mission)
    blind_s, in_vain = 0.0, 0
    while not answers.landing and blind_s < BLIND_S:
        sensed = vehicle.sense(LOOK_S)
        if sensed is None:
            blind_s += LOOK_S
            continue
        blind_s = 0.0
        readings, made_at_s = sensed
        books.sensed(readings.at_s, orders.period_s)
        link.send(keys.up(orders.name), pack_readings(readings, made_at_s), readings.at_s)
        setpoint_2 = answers.to(readings.at_s, made_at_s + orders.period_s)
        if answers.landing:
            break
        if setpoint_2 is None:
            books.missed += 1
            in_vain += 1
            vehicle.fly(np.zeros(2), readings.at_s)
        else:
            in_vain = 0
            vehicle.fly(setpoint_2, readings.at_s)
        books.loops_s.append(time.time() - made_at_s)
        told = [orders.name, books.ticks(), books.missed, readings.at_s]
        session.put(keys.count(orders.name), pack(told))
        # Ticks, not a clock: a machine that stood still for a while has lost no link.
        if in_vain * orders.period_s > orders.lost_link_s:
            vehicle.land()
            return True
    vehicle.land()
    return False


def _report(name: int, lost: bool, books: Books, link: LateSender) -> dict[str, Any]:
    return {
        "name": name,
        "phase": str(Phase.LANDED),
        "link_lost": lost,
        **books.figures(),
        "words_bytes": link.num_bytes,
        "seen": [],
        "targets": [],
    }
