"""A brain that is not on board: the minds of all drones in one process, behind a link to each.

It runs the pilot that a drone runs on board, tick for tick. What one mind says the others hear
within the process. When it ends, all of them end: the single point of failure that flying on board
does without.
"""

from __future__ import annotations

import gc
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from sextant.errors import InputError
from sextant.fleet import wire
from sextant.systems.swarm.drone.pilot import Phase, Pilot
from sextant.systems.swarm.drone.process import READY_S, Books, pilot_rule, tell, warm
from sextant.systems.swarm.mission.orders import BrainOrders, publish
from sextant.systems.swarm.mission.wire import Keys, pack, unpack_readings
from sextant.systems.swarm.placement.late import LateSender
from sextant.systems.swarm.placement.tether import link_of
from sextant.systems.swarm.world.sensors import Readings

_LOOK_S, _OVER_LOOKS = 0.2, 10
_TELL_TICKS = 4


class Inbox:
    """The newest readings of each drone; those that come late are overtaken, never queued.

    Attributes:
        refused: packets that were no readings.
    """

    def __init__(self) -> None:
        self.refused = 0
        self._newest: dict[int, bytes] = {}
        self._come = threading.Condition()

    def hear(self, sample: Any) -> None:
        """Take in readings."""
        name = str(sample.key_expr).rsplit("/", 1)[1]
        if not name.isdecimal():
            self.refused += 1
            return
        drone = int(name)
        with self._come:
            self._newest[drone] = sample.payload.to_bytes()
            self._come.notify()

    def take(self, within_s: float) -> tuple[int, Readings] | None:
        """The readings that have waited longest; each once, None if none come in time."""
        until_s = time.monotonic() + within_s
        while True:
            left_s = until_s - time.monotonic()
            with self._come:
                self._come.wait_for(lambda: bool(self._newest), timeout=max(0.0, left_s))
                if not self._newest:
                    return None
                drone = next(iter(self._newest))
                body = self._newest.pop(drone)
            try:
                return drone, unpack_readings(body)[0]
            except InputError:
                self.refused += 1
                if left_s <= 0.0:
                    return None


class Brain:
    """The minds of all drones, which speak to each other without a wire."""

    def __init__(self, orders: BrainOrders) -> None:
        self.pilots = {one.name: Pilot(pilot_rule(one)) for one in orders.drones}
        self.books = {name: Books() for name in self.pilots}
        self._mail: dict[int, list[bytes]] = {name: [] for name in self.pilots}
        self._seen_C = {
            name: np.zeros(pilot.rule.chart.num_cells, np.bool_)
            for name, pilot in self.pilots.items()
        }
        self._newest_s = dict.fromkeys(self.pilots, -1.0)
        self._begun_cpu_s = time.process_time()

    def think(self, drone: int, readings: Readings) -> bytes | None:
        """What the drone shall do after these readings; None if newer ones were thought about."""
        if drone not in self.pilots or readings.at_s <= self._newest_s[drone]:
            return None
        self._newest_s[drone] = readings.at_s
        pilot, books = self.pilots[drone], self.books[drone]
        mail, self._mail[drone] = self._mail[drone], []
        begun_s = time.perf_counter()
        act = pilot.tick(readings, mail, books.stage)
        books.loops_s.append(time.perf_counter() - begun_s)
        if act.word is not None:
            for other in self._mail.keys() - {drone}:
                self._mail[other].append(act.word)
        lands = act.phase is Phase.LANDED
        return pack([readings.at_s, act.setpoint_2.tolist(), lands])

    def telling(self, drone: int, readings: Readings) -> bytes | None:
        """Now and then, how a drone's mind is, for whoever watches."""
        books = self.books[drone]
        if len(books.loops_s) % _TELL_TICKS != drone % _TELL_TICKS:
            return None
        return pack(tell(self.pilots[drone], readings, books, self._seen_C[drone]))

    def landed(self) -> bool:
        """Whether all of them are down."""
        return all(pilot.phase is Phase.LANDED for pilot in self.pilots.values())

    def abort(self) -> None:
        """Everybody shall land."""
        for pilot in self.pilots.values():
            pilot.abort()

    def report(self) -> dict[str, Any]:
        """What it has to say at the end."""
        stages = [books.figures()["stages_p50_s"] for books in self.books.values()]
        seen_C = np.any([pilot.shared.seen_C for pilot in self.pilots.values()], axis=0)
        targets = [spot.tolist() for p in self.pilots.values() for spot in p.targets.confirmed()]
        return {
            "ticks": sum(len(books.loops_s) for books in self.books.values()),
            "stages_p50_s": {n: float(np.median([s[n] for s in stages])) for n in stages[0]},
            "seen": np.flatnonzero(seen_C).tolist(),
            "targets": targets,
            "cpu_s": time.process_time() - self._begun_cpu_s,
        }


def run_brain(orders: BrainOrders) -> None:
    """Think for all drones until they have landed, or none of them is heard any more."""
    keys, inbox = Keys(orders.mission), Inbox()
    warm(pilot_rule(orders.drones[0]))
    brain = Brain(orders)
    session = wire.peer(orders.listen, orders.peers)
    link = LateSender(session.put, orders.link.rule(), orders.seed)
    try:
        hearing = [
            session.declare_subscriber(keys.ups, wire.direct(inbox.hear)),
            session.declare_subscriber(keys.abort, wire.direct(lambda _sample: brain.abort())),
            session.declare_subscriber(
                keys.link, wire.direct(lambda s: link.shape(link_of(s.payload.to_bytes())))
            ),
        ]
        gc.collect()
        gc.freeze()
        _think(orders, brain, inbox, link, session)
        del hearing
    finally:
        link.close()
        session.close()


def _think(orders: BrainOrders, brain: Brain, inbox: Inbox, link: LateSender, session: Any) -> None:
    """The loop. Whoever ends the brain may not wait for it, so as soon as all is quiet it reports;
    it goes on for as long as a drone may still be in the air.
    """
    # Looks, not a clock: a machine that stood still for a while has lost no drone.
    keys, begun, quiet, most = Keys(orders.mission), False, 0, READY_S / _LOOK_S
    lost_looks = max(one.lost_link_s for one in orders.drones) / _LOOK_S + _OVER_LOOKS

    def report() -> None:
        told = {**brain.report(), "words_bytes": link.num_bytes, "refused": inbox.refused}
        publish(Path(orders.report), told)

    while quiet < most:
        if not begun:
            session.put(keys.brain, pack(True))
        taken = inbox.take(_LOOK_S)
        if taken is None:
            quiet += 1
            if begun and quiet == _OVER_LOOKS:
                report()
            continue
        quiet, begun = 0, True
        drone, readings = taken
        answer = brain.think(drone, readings)
        if answer is not None:
            link.send(keys.down(drone), answer, readings.at_s)
            telling = brain.telling(drone, readings)
            if telling is not None:
                session.put(keys.telling(drone), telling)
        most = _OVER_LOOKS if brain.landed() else lost_looks
    report()
