"""A lean door for vector queries over TCP: one thread, one selector, all that is ready in a batch.

While a batch is being searched, the next ones gather in the sockets; an idle door searches a lone
query at once. Nothing is unpickled, every frame is bounded, and a query whose deadline has passed
is refused without a search. What a client does not read is kept for it up to a bound, then it is
cut off. Beyond loopback a token is needed.

Shape suffixes: Q queries, D dimensions.
"""

from __future__ import annotations

import hmac
import ipaddress
import selectors
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import msgpack
import numpy as np

from sextant.errors import InputError, SextantError
from sextant.fleet import Deadline
from sextant.search import frames
from sextant.search.nearest import Near
from sextant.search.wire import Floats

SearchBatch = Callable[[Floats, int, Deadline], Near]
"""Searches Q vectors for their K nearest by the deadline."""

MOST_BATCH = 64
"""Queries of one search: beyond it a batch gains little and the first of it waits for the last."""
MOST_HITS = 1000
MOST_CONNECTIONS = 1024
_READ_BYTES = 1 << 16
_MOST_UNREAD_BYTES = 1 << 22
_MOST_TOKEN_BYTES = 1024
_LATE = "the deadline had passed before the search"


@dataclass(eq=False, slots=True)
class _Caller:
    """One connection: what has come and is no whole frame yet, and what it has not taken yet."""

    socket: socket.socket
    known: bool = False
    came: bytearray = field(default_factory=bytearray)
    unsent: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, slots=True)
class _Query:
    caller: _Caller
    number: int
    k: int
    deadline_s: float
    vector: bytes


class Door:
    """Serves vector queries on one port; `run` returns once `stop` was called.

    Args:
        search: searches a batch.
        dims: of the vectors.
        about: what a client is told when it is let in.
        host: an address of this machine.
        port: 0 takes a free one.
        token: what clients must say; needed beyond loopback.
        clock: seconds since the epoch.

    Raises:
        InputError: the address is beyond loopback and there is no token, or it cannot be had.
    """

    def __init__(
        self,
        search: SearchBatch,
        *,
        dims: int,
        about: dict[str, object],
        host: str = "127.0.0.1",
        port: int = 0,
        token: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not token and not is_loopback(host):
            raise InputError(
                f"a door on {host} needs a token", where="--host", hint="give --token-file"
            )
        self._search = search
        self._about = {"dims": dims, **about}
        self._query_bytes = frames.QUERY_HEAD.size + 4 * dims
        self._dims = dims
        self._token = token.encode()
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._callers: set[_Caller] = set()
        self._waiting: list[_Query] = []
        self._stopping = False
        try:
            self._listener = socket.create_server((host, port), backlog=MOST_CONNECTIONS)
        except OSError as error:
            raise InputError(f"cannot listen on {host}:{port}: {error.strerror}") from error
        self._listener.setblocking(False)
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listener.getsockname()[1]
        return port

    def run(self) -> None:
        """Serve until `stop` is called."""
        try:
            while not self._stopping:
                self._gather(block=not self._waiting)
                self._answer()
        finally:
            for caller in tuple(self._callers):
                self._drop(caller)
            for one in (self._listener, self._wake, self._woken, self._selector):
                one.close()

    def stop(self) -> None:
        """End `run`; may be called from another thread."""
        self._stopping = True
        self._wake.send(b"\0")

    def _gather(self, *, block: bool) -> None:
        """Take in what is ready, and wait for something if nothing is at hand."""
        for key, events in self._selector.select(None if block else 0):
            if key.data is None:
                self._let_in(key.fileobj)
                continue
            if events & selectors.EVENT_WRITE:
                self._send(key.data)
            if events & selectors.EVENT_READ:
                self._read(key.data)

    def _let_in(self, source: object) -> None:
        if source is not self._listener:
            return
        try:
            caller = _Caller(self._listener.accept()[0])
        except OSError:
            # Gone before it was let in, or no descriptor is left: the others go on.
            return
        if len(self._callers) >= MOST_CONNECTIONS:
            caller.socket.close()
            return
        caller.socket.setblocking(False)
        caller.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._callers.add(caller)
        self._selector.register(caller.socket, selectors.EVENT_READ, caller)

    def _read(self, caller: _Caller) -> None:
        try:
            data = caller.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(caller)
            return
        if caller.came:
            caller.came += data
            data = bytes(caller.came)
            caller.came.clear()
        start = 0
        try:
            while (end := self._whole(caller, data, start)) is not None:
                self._take(caller, data, start, end)
                start = end
        except ValueError as error:
            self._refuse(caller, str(error))
            return
        if start < len(data):
            caller.came += data[start:]

    def _whole(self, caller: _Caller, data: bytes, start: int) -> int | None:
        """Where the frame at `start` ends; None if it is not all there.

        Raises:
            ValueError: it is longer than any frame that may come.
        """
        if start + frames.HEAD.size > len(data):
            return None
        length, _ = frames.HEAD.unpack_from(data, start)
        most = self._query_bytes - 4 if caller.known else _MOST_TOKEN_BYTES
        if not 1 <= length <= most:
            raise ValueError(f"a frame of {length} bytes")
        end = int(start + 4 + length)
        return end if end <= len(data) else None

    def _take(self, caller: _Caller, data: bytes, start: int, end: int) -> None:
        """One whole frame.

        Raises:
            ValueError: it is not one that may come now.
        """
        kind = data[start + 4]
        if not caller.known:
            self._greet(caller, kind, data[start + 5 : end])
            return
        if kind != frames.QUERY or end - start != self._query_bytes:
            raise ValueError(f"not a query of {self._dims} dimensions")
        _, _, number, k, deadline_s = frames.QUERY_HEAD.unpack_from(data, start)
        vector = data[start + frames.QUERY_HEAD.size : end]
        self._waiting.append(_Query(caller, number, k, deadline_s, vector))

    def _greet(self, caller: _Caller, kind: int, body: bytes) -> None:
        """The first frame of a connection.

        Raises:
            ValueError: it is no greeting, of another version, or without the token.
        """
        if kind != frames.HELLO or len(body) < 2:
            raise ValueError("a connection begins with a greeting")
        (version,) = struct.unpack_from("<H", body)
        if version != frames.VERSION:
            raise ValueError(f"this door speaks version {frames.VERSION}, not {version}")
        if not hmac.compare_digest(body[2:], self._token):
            raise ValueError("the token is not the door's")
        caller.known = True
        self._give(caller, frames.frame(frames.WELCOME, msgpack.packb(self._about)))

    def _answer(self) -> None:
        """Search what waits, most patient last: one batch of those that want equally many."""
        if not self._waiting:
            return
        now_s = self._clock()
        k = self._waiting[0].k
        batch: list[_Query] = []
        rest: list[_Query] = []
        for query in self._waiting:
            # A deadline that is no number is never met.
            if not query.deadline_s > now_s or not 1 <= query.k <= MOST_HITS:
                why = _LATE if 1 <= query.k <= MOST_HITS else f"k must be from 1 to {MOST_HITS}"
                self._give(query.caller, frames.refused(query.number, why))
            elif query.k == k and len(batch) < MOST_BATCH:
                batch.append(query)
            else:
                rest.append(query)
        self._waiting = rest
        if batch:
            self._answer_batch(batch, k)

    def _answer_batch(self, batch: list[_Query], k: int) -> None:
        joined = b"".join([query.vector for query in batch])
        queries_QD = np.frombuffer(joined, "<f4").reshape(len(batch), -1)
        # The first that is due decides: nobody gets an answer late, and shards are seldom so slow.
        deadline = Deadline(min(query.deadline_s for query in batch), self._clock)
        try:
            near = self._search(queries_QD, k, deadline)
        except SextantError as error:
            replies = [frames.refused(query.number, str(error)) for query in batch]
        else:
            numbers = [query.number for query in batch]
            replies = frames.hits_frames(numbers, near.scores_QK, near.ordinals_QK, near.coverage)
        for query, reply in zip(batch, replies, strict=True):
            self._give(query.caller, reply)

    def _give(self, caller: _Caller, reply: bytes) -> None:
        """Send what the connection takes now; keep the rest."""
        if caller not in self._callers:
            return
        if caller.unsent:
            caller.unsent += reply
            if len(caller.unsent) > _MOST_UNREAD_BYTES:
                self._drop(caller)
            return
        try:
            sent = caller.socket.send(reply)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(caller)
            return
        if sent < len(reply):
            caller.unsent += reply[sent:]
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            self._selector.modify(caller.socket, both, caller)

    def _send(self, caller: _Caller) -> None:
        """Send what was kept."""
        try:
            sent = caller.socket.send(caller.unsent)
        except BlockingIOError:
            return
        except OSError:
            self._drop(caller)
            return
        del caller.unsent[:sent]
        if not caller.unsent:
            self._selector.modify(caller.socket, selectors.EVENT_READ, caller)

    def _refuse(self, caller: _Caller, why: str) -> None:
        self._give(caller, frames.refused(0, why))
        self._drop(caller)

    def _drop(self, caller: _Caller) -> None:
        if caller in self._callers:
            self._callers.discard(caller)
            self._selector.unregister(caller.socket)
            caller.socket.close()


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
