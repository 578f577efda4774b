"""A lean door for vector queries over TCP: one thread reads and writes, a few wait for searches.

An idle door searches a lone query at once. While as many batches are being searched as there are
replicas, queries gather, and all that want the same leave in the next one; if a batch is held up,
by a shard that hangs for example, the next does not wait long for it. Nothing is unpickled, every
frame is bounded, and a query whose deadline has passed is refused without a search; so are queries
beyond those that may wait. What a client does not read is kept for it up to a bound, then it is cut
off. Beyond loopback a token is needed, and whoever does not greet in time is sent away.

Shape suffixes: Q queries, D dimensions.
"""

from __future__ import annotations

import hmac
import selectors
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import msgpack
import numpy as np

from sextant.errors import InputError, SextantError
from sextant.fleet import Deadline
from sextant.fleet.address import is_loopback
from sextant.search import frames
from sextant.search.callers import Caller, Query
from sextant.search.entrance import Entrance
from sextant.search.nearest import Near
from sextant.search.together import MOST_BATCH, PATIENCE_S
from sextant.search.wire import Floats

SearchBatch = Callable[[Floats, int, Deadline], Near]
"""Searches Q vectors for their K nearest by the deadline."""

MOST_HITS = 1000
MOST_WAITING = 4096
"""Queries that wait for a search; more are refused, so that nobody waits without end."""
_MOST_AWAY = 16
_LINGER_S = 0.001
_READ_BYTES = 1 << 16
_MOST_UNREAD_BYTES = 1 << 22
_MOST_TOKEN_BYTES = 1024
_LATE = "the deadline had passed before the search"
_LONGEST_S = 3600.0


class Door:
    """Serves vector queries on one port; `run` returns once `stop` was called.

    Args:
        search: searches a batch; called on several threads.
        dims: of the vectors.
        about: what a client is told when it is let in.
        host: an address of this machine.
        port: 0 takes a free one.
        token: what clients must say; needed beyond loopback.
        at_once: batches that are searched side by side: the replicas. With 0 the door's own
            thread searches: no thread waits for another, but nothing is read meanwhile. It is for
            a shard in this process.
        shared: other processes may listen on the same port; the system spreads the connections.
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
        at_once: int = 1,
        shared: bool = False,
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
        self._callers: set[Caller] = set()
        self._waiting: list[Query] = []
        self._at_once = at_once
        self._away = 0
        self._queries_away = 0
        self._found: deque[tuple[Sequence[Query], Sequence[bytes]]] = deque()
        self._pool = ThreadPoolExecutor(_MOST_AWAY, thread_name_prefix="door")
        self._stopping = False
        self._entrance = Entrance(host, port, shared=shared, selector=self._selector)
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._entrance.port

    def run(self) -> None:
        """Serve until `stop` is called."""
        try:
            while not self._stopping:
                self._gather()
                self._give_found()
                self._send_off()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)
            for caller in tuple(self._callers):
                self._drop(caller)
            for one in (self._entrance, self._wake, self._woken, self._selector):
                one.close()

    def stop(self) -> None:
        """End `run`; may be called from another thread."""
        self._stopping = True
        self._stir()

    def _stir(self) -> None:
        # A full pipe wakes as well as one more byte.
        with suppress(BlockingIOError, OSError):
            self._wake.send(b"\0")

    def _gather(self) -> None:
        """Wait for something, and take in what is ready."""
        wait_s = None
        if self._waiting and self._away < _MOST_AWAY:
            most_s = PATIENCE_S if self._away >= self._at_once else _LINGER_S
            wait_s = min(most_s, max(0.0, self._waiting[0].came_s + most_s - self._clock()))
        entrance_s = self._entrance.wait_s()
        if entrance_s is not None:
            wait_s = entrance_s if wait_s is None else min(wait_s, entrance_s)
        for key, events in self._selector.select(wait_s):
            if key.data is None:
                self._woken.recv(_READ_BYTES)
                continue
            if key.data is self._entrance:
                self._let_in()
                continue
            if events & selectors.EVENT_WRITE:
                self._send(key.data)
            if events & selectors.EVENT_READ and key.data in self._callers:
                self._read(key.data)
        for caller in self._entrance.overdue():
            self._refuse(caller, "no greeting came in time")

    def _let_in(self) -> None:
        if (caller := self._entrance.let_in(len(self._callers))) is not None:
            self._callers.add(caller)
            self._selector.register(caller.socket, selectors.EVENT_READ, caller)

    def _read(self, caller: Caller) -> None:
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

    def _whole(self, caller: Caller, data: bytes, start: int) -> int | None:
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

    def _take(self, caller: Caller, data: bytes, start: int, end: int) -> None:
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
        now_s = self._clock()
        if why := self._reason_against(k, vector):
            self._give(caller, frames.refused(number, why))
            return
        deadline_s = min(deadline_s, now_s + _LONGEST_S)
        self._waiting.append(Query(caller, number, k, deadline_s, vector, now_s))

    def _reason_against(self, k: int, vector: bytes) -> str:
        """Why a query is refused at once, or nothing: one that a shard refuses takes its whole
        batch along.
        """
        if len(self._waiting) >= MOST_WAITING:
            return f"{MOST_WAITING} queries wait already"
        if not 1 <= k <= MOST_HITS:
            return f"k must be from 1 to {MOST_HITS}"
        if not np.isfinite(np.frombuffer(vector, "<f4")).all():
            return "a query vector must be finite"
        return ""

    def _greet(self, caller: Caller, kind: int, body: bytes) -> None:
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
        self._entrance.forget(caller)
        self._give(caller, frames.frame(frames.WELCOME, msgpack.packb(self._about)))

    def _send_off(self) -> None:
        """Search what waits: at once where there is room, and where patience ends all the same."""
        while self._waiting and not self._at_once:
            if batch := self._next_batch(self._clock(), MOST_BATCH):
                self._search_batch(batch)
                self._give_found()
        while self._waiting and self._away < _MOST_AWAY:
            now_s = self._clock()
            waited_s = now_s - self._waiting[0].came_s
            if self._away >= self._at_once and waited_s < PATIENCE_S:
                return
            # Replicas get equal shares, which may fill for a moment; alone nobody waits.
            share = -(-(len(self._waiting) + self._queries_away) // self._at_once)
            if self._away and len(self._waiting) < share and waited_s < _LINGER_S:
                return
            batch = self._next_batch(now_s, min(share, MOST_BATCH))
            if batch:
                self._away += 1
                self._queries_away += len(batch)
                self._pool.submit(self._search_batch, batch)

    def _next_batch(self, now_s: float, most: int) -> list[Query]:
        """The query that came first, and those who can go with it; what is late is refused."""
        batch: list[Query] = []
        rest: list[Query] = []
        for query in self._waiting:
            # A deadline that is no number is never met.
            if not query.deadline_s > now_s:
                self._give(query.caller, frames.refused(query.number, _LATE))
            elif not batch or (len(batch) < most and batch[0].may_share(query, now_s)):
                batch.append(query)
            else:
                rest.append(query)
        self._waiting = rest
        return batch

    def _search_batch(self, batch: Sequence[Query]) -> None:
        """Make the replies to a batch, on a thread of the pool."""
        try:
            replies = self._replies(batch)
        except Exception as error:  # noqa: BLE001 - whatever it is, the callers must hear of it
            why = str(error) if isinstance(error, SextantError) else type(error).__name__
            replies = [frames.refused(query.number, why) for query in batch]
        self._found.append((batch, replies))
        if self._at_once:
            self._stir()

    def _replies(self, batch: Sequence[Query]) -> list[bytes]:
        joined = b"".join([query.vector for query in batch])
        queries_QD = np.frombuffer(joined, "<f4").reshape(len(batch), -1)
        # The first that is due decides: nobody gets an answer late.
        deadline = Deadline(min(query.deadline_s for query in batch), self._clock)
        near = self._search(queries_QD, batch[0].k, deadline)
        numbers = [query.number for query in batch]
        return frames.hits_frames(numbers, near.scores_QK, near.ordinals_QK, near.coverage)

    def _give_found(self) -> None:
        """Send the replies that are there."""
        while self._found:
            batch, replies = self._found.popleft()
            if self._at_once:
                self._away -= 1
                self._queries_away -= len(batch)
            for query, reply in zip(batch, replies, strict=True):
                self._give(query.caller, reply)

    def _give(self, caller: Caller, reply: bytes) -> None:
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

    def _send(self, caller: Caller) -> None:
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

    def _refuse(self, caller: Caller, why: str) -> None:
        self._give(caller, frames.refused(0, why))
        self._drop(caller)

    def _drop(self, caller: Caller) -> None:
        if caller in self._callers:
            self._callers.discard(caller)
            self._entrance.forget(caller)
            self._selector.unregister(caller.socket)
            caller.socket.close()
