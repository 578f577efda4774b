"""Cutting this process off the wire without a word: no root, no firewall, both directions.

The sockets to the askers are taken from under Zenoh: each is put aside, still open, and a socket
that leads nowhere takes its place. Nothing arrives any more, what is sent vanishes, and the other
end sees what it sees when a cable is pulled: silence.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

_FDS = Path("/proc/self/fd")


class Cut:
    """The sockets of this process to some endpoints, taken off the wire until `close` (Linux)."""

    def __init__(self, endpoints: Iterable[str]) -> None:
        self._aside: list[socket.socket] = []
        self._nowhere: list[socket.socket] = []
        ports = {int(endpoint.rpartition(":")[2]) for endpoint in endpoints}
        pollers = tuple(_open_files("anon_inode:[eventpoll]"))
        for number in _open_files("socket:"):
            with contextlib.suppress(OSError):
                self._take(number, ports, pollers)

    def close(self) -> None:
        """Lets the sockets go; whoever used them has long given them up."""
        for taken in (*self._aside, *self._nowhere):
            taken.close()

    def _take(self, number: int, ports: set[int], pollers: tuple[int, ...]) -> None:
        aside = socket.socket(fileno=os.dup(number))
        try:
            peer = aside.getpeername()
        except OSError:
            peer = ()
        if not isinstance(peer, tuple) or len(peer) < 2 or peer[1] not in ports:
            aside.close()
            return
        # Before its place is taken: an event of it would be reported for a socket long gone.
        for poller in pollers:
            with contextlib.suppress(OSError):
                _unregister(poller, number)
        here, nowhere = socket.socketpair()
        with here:
            # As what it replaces: a write that finds no room must not wait, nor a child inherit it.
            here.setblocking(False)
            os.dup2(here.fileno(), number, inheritable=False)
        self._aside.append(aside)
        self._nowhere.append(nowhere)


def _unregister(poller: int, number: int) -> None:
    with select.epoll.fromfd(os.dup(poller)) as epoll:
        epoll.unregister(number)


def _open_files(kind: str) -> Iterator[int]:
    for entry in tuple(_FDS.iterdir()):
        with contextlib.suppress(OSError):
            if str(entry.readlink()).startswith(kind):
                yield int(entry.name)
