"""An operator's abort: whoever reaches one peer lands everyone. No launcher has to be left."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from sextant.errors import EngineError, InputError
from sextant.fleet import wire
from sextant.systems.swarm.agreement.words import Word
from sextant.systems.swarm.mission.launch import free_ports
from sextant.systems.swarm.mission.orders import DroneOrders, read_orders
from sextant.systems.swarm.mission.wire import Keys, pack, unpack

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


def flights_here(processes: Path = Path("/proc")) -> list[Path]:
    """The flights of this user whose drones are processes on this machine, wherever their files
    are: of each the orders of one of its drones.

    Raises:
        InputError: there is none, or nobody's orders are there any more.
    """
    flights: dict[tuple[int, Path], Path] = {}
    unread: list[str] = []
    for process in processes.glob("[0-9]*"):
        try:
            if process.stat().st_uid == os.getuid() and (path := _flown(process)) is not None:
                flight = (read_orders(path, DroneOrders).mission, path.parent)
                flights[flight] = min(path, flights.get(flight, path))
        except OSError:
            continue  # It has ended, or is another user's.
        except InputError:
            unread.append(process.name)
    if not flights:
        what = "no drone of yours is a process on this machine: nobody flies here"
        if unread:
            what = f"drones without readable orders: process {', '.join(sorted(unread))}"
        raise InputError(what, where="--config", hint="--config FOLDER, or a drone's orders")
    return sorted(flights.values())


def _flown(process: Path) -> Path | None:
    """The orders that a process flies by; None if it is no drone."""
    words = [os.fsdecode(word) for word in (process / "cmdline").read_bytes().split(b"\0")]
    if ("swarm", "drone") not in pairwise(words):
        return None
    for option, value in pairwise(words):
        named, _, joined = option.partition("=")
        if named == "--config":
            return (process / "cwd").readlink() / (joined or value)
    return None


def orders_in(place: Path) -> list[DroneOrders]:
    """The orders of a flight's drones in its folder; of one drone and those of its mission beside
    it, in a file.

    Raises:
        InputError: they are none, or of more than one mission.
    """
    if not place.is_dir():
        named = read_orders(place, DroneOrders)
        beside = {named.name: named}
        for path in sorted(place.parent.glob(_ORDERS)):
            with suppress(InputError):
                other = read_orders(path, DroneOrders)
                if other.mission == named.mission:
                    beside.setdefault(other.name, other)
        return [beside[name] for name in sorted(beside)]
    orders = [read_orders(path, DroneOrders) for path in sorted(place.glob(_ORDERS))]
    if not orders:
        hint = "the folder of a flight, or the orders of one of its drones"
        raise InputError("no drone's orders", where=str(place), hint=hint)
    if len({one.mission for one in orders}) > 1:
        raise InputError("orders of more than one mission", where=str(place))
    return orders


def land_all(orders: list[DroneOrders], within_s: float) -> Landed:
    """Join the wire as one more peer, and say that everybody shall land until they have.

    Args:
        orders: of those drones that are known.
        within_s: how long they may take.

    Raises:
        EngineError: nobody flies, nobody is heard, or somebody who is heard does not land in time.
    """
    keys, until_s = Keys(orders[0].mission), time.monotonic() + within_s
    endpoints = dict.fromkeys(
        endpoint for one in orders for endpoint in (one.listen, *one.peers) if endpoint
    )
    session = wire.peer(f"tcp/127.0.0.1:{free_ports(1)[0]}", list(endpoints))
    try:
        ground = _Ground(session, keys, orders)
        before, told = set(ground.down), 0
        # Some times in any case: who is heard of only then is to land, too.
        while time.monotonic() < until_s and not (ground.all_down() and told >= _LEAST):
            session.put(keys.abort, pack(True))
            told += 1
            time.sleep(_AGAIN_S)
            ground.look()
    finally:
        session.close()
    # Who was down before anything was said, and is not heard, was not landed by this.
    if not ground.heard and ground.down <= before:
        what = "nobody of this mission is heard: it is over, or out of reach"
        if before:
            count = f"{len(before)} of {len(before | ground.silent())}"
            what = f"already over: {count} drones had landed before, and nobody else is heard"
        hint = "without --config, every flight in the air on this machine is landed"
        raise EngineError(what, hint=hint)
    if ground.up():
        names = ", ".join(str(name) for name in sorted(ground.up()))
        raise EngineError(f"not down after {within_s:g} s: drone {names}")
    return Landed(down=tuple(sorted(ground.down)), silent=tuple(sorted(ground.silent())))


class _Ground:
    """Who is known to be down."""

    def __init__(self, session: Any, keys: Keys, orders: list[DroneOrders]) -> None:
        self.down, self.heard = set[int](), set[int]()
        self._orders = orders
        count = max((one.drones or 0 for one in orders), default=0)
        self._names = {one.name for one in orders} | set(range(count))
        self._cells = orders[0].chart.rows * orders[0].chart.columns
        self._words = session.declare_subscriber(keys.words, wire.newest(_MOST_WAITING))
        self._truth = session.declare_subscriber(keys.truth, wire.newest(_MOST_WAITING))
        self.look()

    def up(self) -> set[int]:
        """Those that were heard, and are not down."""
        return self.heard - self.down

    def silent(self) -> set[int]:
        """Those of whom nothing is known."""
        return self._names - self.heard - self.down

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
        self.heard.add(name)
        if not flies:
            self.down.add(name)
