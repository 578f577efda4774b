"""The way in to a door: how many may come, and how long somebody may stand there unnamed.

Whoever has connected and not greeted yet is a stranger. Strangers are few, and each for a short
time: they cannot keep out those who have something to ask. Where no descriptor is left, nobody is
let in for a moment; the connections wait in the system's own queue meanwhile.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable

from sextant.errors import InputError
from sextant.search.callers import Caller

MOST_CONNECTIONS = 1024
MOST_STRANGERS = 128
GREETING_S = 5.0
"""A greeting is one short frame; only a broken client, or none at all, takes longer."""
_DEAF_S = 0.1
_GONE = (BlockingIOError, ConnectionAbortedError)


class Entrance:
    """Listens on one port and lets callers in; for the thread of its door alone.

    Args:
        host: an address of this machine.
        port: 0 takes a free one.
        shared: other processes may listen on the same port.
        selector: the door's; has the listener, with this object as its data, while it listens.
        clock: seconds that only rise.

    Raises:
        InputError: the address cannot be had.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        shared: bool,
        selector: selectors.BaseSelector,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        try:
            self._listener = socket.create_server(
                (host, port), backlog=MOST_CONNECTIONS, reuse_port=shared
            )
        except OSError as error:
            raise InputError(f"cannot listen on {host}:{port}: {error.strerror}") from error
        self._listener.setblocking(False)
        self._selector = selector
        self._clock = clock
        self._strangers: dict[Caller, float] = {}
        """Until when each may stay, in the order in which they came."""
        self._deaf_until_s: float | None = None
        selector.register(self._listener, selectors.EVENT_READ, self)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def let_in(self, num_inside: int) -> Caller | None:
        """Whoever stands before it, a stranger; None if they have gone, or may not come in."""
        try:
            line = self._listener.accept()[0]
        except _GONE:
            return None
        except OSError:
            # No descriptor or no memory is left, and the listener stays readable: looking again at
            # once would take the whole core.
            self._selector.unregister(self._listener)
            self._deaf_until_s = self._clock() + _DEAF_S
            return None
        if num_inside >= MOST_CONNECTIONS:
            line.close()
            return None
        line.setblocking(False)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        caller = Caller(line)
        self._strangers[caller] = self._clock() + GREETING_S
        return caller

    def forget(self, caller: Caller) -> None:
        """They have greeted, or gone."""
        self._strangers.pop(caller, None)

    def wait_s(self) -> float | None:
        """How long until `overdue` has something to do; None if there is nothing to wait for."""
        due = list(self._strangers.values())[:1]
        if self._deaf_until_s is not None:
            due.append(self._deaf_until_s)
        return max(0.0, min(due) - self._clock()) if due else None

    def overdue(self) -> list[Caller]:
        """The strangers whose time is over, and those beyond the number that may be there."""
        now_s = self._clock()
        if self._deaf_until_s is not None and now_s >= self._deaf_until_s:
            self._deaf_until_s = None
            self._selector.register(self._listener, selectors.EVENT_READ, self)
        crowd = len(self._strangers) - MOST_STRANGERS
        return [
            caller
            for number, (caller, until_s) in enumerate(self._strangers.items())
            if number < crowd or until_s <= now_s
        ]

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()
