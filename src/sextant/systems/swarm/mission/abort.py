"""An operator's abort: whoever reaches one peer lands everyone. No launcher has to be left."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sextant.errors import EngineError, InputError
from sextant.fleet import wire
from sextant.systems.swarm.agreement.words import Word
from sextant.systems.swarm.mission.launch import free_ports
from sextant.systems.swarm.mission.orders import DroneOrders, read_orders
from sextant.systems.swarm.mission.wire import Keys, pack, unpack

_FOLDERS = "sextant-swarm-*"
"""Of `swarm fly` and its kin, which are left where their launcher was killed."""
_ORDERS = "drone-*.orders.json"
_AGAIN_S, _LEAST = 0.2, 8
_MOST_WAITING = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Landed:
    """How an abort went.

    Attributes:
        down: drones that are on the ground, by their own word, their report or the physics'.
        silent: those that were not heard; they have no wire any more, or fell out before.
    """

    down: tuple[int, ...]
    silent: tuple[int, ...]


def newest_flight() -> Path:
    """The folder of the flight that this user started last on this machine.

    Raises:
        InputError: there is none.
    """
    found = [
        orders
        for folder in Path(tempfile.gettempdir()).glob(_FOLDERS)
        if folder.is_dir() and folder.stat().st_uid == os.getuid()
        for orders in folder.rglob(_ORDERS)
    ]
    if not found:
        what = "no flight was started on this machine"
        raise InputError(what, where="--config", hint="--config FOLDER, or a drone's orders")
    return max(found, key=lambda path: path.stat().st_mtime).parent


def orders_in(place: Path) -> list[DroneOrders]:
    """The orders of a flight's drones in its folder, or of one drone in a file.

    Raises:
        InputError: they are none, or of more than one mission.
    """
    files = sorted(place.glob(_ORDERS)) if place.is_dir() else [place]
    if not files:
        hint = "the folder of a flight, or the orders of one of its drones"
        raise InputError("no drone's orders", where=str(place), hint=hint)
    orders = [read_orders(path, DroneOrders) for path in files]
    if len({one.mission for one in orders}) > 1:
        raise InputError("orders of more than one mission", where=str(place))
    return orders


def land_all(orders: list[DroneOrders], within_s: float) -> Landed:
    """Join the wire as one more peer, and say that everybody shall land until they have.

    Args:
        orders: of those drones that are known.
        within_s: how long they may take.

    Raises:
        EngineError: nobody is heard, or somebody who is heard does not land in time.
    """
    keys, until_s = Keys(orders[0].mission), time.monotonic() + within_s
    endpoints = dict.fromkeys(
        endpoint for one in orders for endpoint in (one.listen, *one.peers) if endpoint
    )
    session = wire.peer(f"tcp/127.0.0.1:{free_ports(1)[0]}", list(endpoints))
    try:
        ground = _Ground(session, keys, orders)
        told = 0
        # Some times in any case: who is heard of only then is to land, too.
        while time.monotonic() < until_s and not (ground.all_down() and told >= _LEAST):
            session.put(keys.abort, pack(True))
            told += 1
            time.sleep(_AGAIN_S)
            ground.look()
    finally:
        session.close()
    if not ground.down and not ground.up():
        raise EngineError("nobody of this mission is heard: it is over, or out of reach")
    if ground.up():
        names = ", ".join(str(name) for name in sorted(ground.up()))
        raise EngineError(f"not down after {within_s:g} s: drone {names}")
    return Landed(down=tuple(sorted(ground.down)), silent=tuple(sorted(ground.silent())))


class _Ground:
    """Who is known to be down."""

    def __init__(self, session: Any, keys: Keys, orders: list[DroneOrders]) -> None:
        self.down: set[int] = set()
        self._orders, self._heard = orders, set[int]()
        self._cells = orders[0].chart.rows * orders[0].chart.columns
        self._words = session.declare_subscriber(keys.words, wire.newest(_MOST_WAITING))
        self._truth = session.declare_subscriber(keys.truth, wire.newest(_MOST_WAITING))
        self.look()

    def up(self) -> set[int]:
        """Those that were heard, and are not down."""
        return self._heard - self.down

    def silent(self) -> set[int]:
        """Those of whom nothing is known."""
        return {one.name for one in self._orders} - self._heard - self.down

    def all_down(self) -> bool:
        """Whether everybody that is known of is."""
        return not self.up() and not self.silent()

    def look(self) -> None:
        """Take in what has been said, and who has reported."""
        while (sample := self._words.try_recv()) is not None:
            try:
                speaker = Word.unpack(sample.payload.to_bytes(), self._cells).speaker
            except InputError:
                continue
            self._note(speaker.name, not speaker.landed)
        while (sample := self._truth.try_recv()) is not None:
            with suppress(ValueError, TypeError, KeyError):
                for name, flies in enumerate(unpack(sample.payload.to_bytes())["flying"]):
                    self._note(name, flies)
        self.down |= {o.name for o in self._orders if o.report and Path(o.report).exists()}

    def _note(self, name: int, flies: bool) -> None:
        self._heard.add(name)
        if not flies:
            self.down.add(name)
