"""A shard as a member of a gang: it serves the generations that it is asked for, side by side.

A request names a generation. The one that the index has when the member starts is opened in
`warm`. A probe makes the member open another one in the background, sharing the segments that both
have, while it goes on answering from the first; so an index changes under a gang that serves, and
nobody waits. A generation that nobody has asked for in a while is let go, with its lease on the
files.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from sextant.axes import Axis
from sextant.errors import InputError
from sextant.fleet import Deadline, Member
from sextant.search import engine
from sextant.search.generations import Lease, lease
from sextant.search.shard import Shard
from sextant.search.wire import Request

LET_GO_AFTER_S = 20.0
"""A generation that was not asked for in so long is not served any more, if another one is."""
PROBE = b"probe:"
"""Begins a message that names a generation to open; the answer is one of the three below."""
OPEN, OPENING, REFUSED = b"open", b"opening", b"refused: "
_PROBE_WAITS_S = 0.05


class _Held:
    """One generation of the shard here: being opened, open, or refused."""

    def __init__(self, leased: Lease, name: str) -> None:
        self.lease = leased
        self.done = threading.Event()
        self.shard: Shard | None = None
        self.refused = ""
        self.asked_s = 0.0
        self._name = name

    def open(self, index_dir: Path, beside: Shard | None) -> None:
        """Open it, sharing what `beside` has open.

        Raises:
            InputError: the shard is torn or corrupt, or this generation has none of this name.
        """
        manifest = self.lease.manifest
        card = next((card for card in manifest.shards if card.name == self._name), None)
        if card is None:
            raise InputError(f"generation {manifest.generation} has no shard {self._name}")
        self.shard = Shard(index_dir, card, beside)
        self.done.set()

    def open_behind(self, index_dir: Path, beside: Shard | None) -> None:
        """The same on a thread that nobody waits for; the reason of a failure is kept."""
        try:
            self.open(index_dir, beside)
        except InputError as error:
            self.refused = str(error)
        except Exception as error:  # noqa: BLE001
            # A thread has nobody to raise to; whoever asks for the generation is told.
            self.refused = f"{type(error).__name__}: {error}"
        self.done.set()


class ShardMember(Member):
    """A shard server: `warm` checks and opens the shard, `handle` answers a `Request` with a
    `Reply`.

    Args:
        index_dir: the index's folder, absolute.
        shard: the shard's name.
        generation: the generation to open first; if it is gone, or empty, the current one.
        clock: seconds that only rise.
    """

    def __init__(
        self,
        index_dir: str,
        shard: str,
        generation: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dir = Path(index_dir)
        self._shard = shard
        self._first = generation
        self._clock = clock
        # By name; the last is the one that was opened last.
        self._held: dict[str, _Held] = {}
        self._closed = threading.Event()

    def warm(self) -> None:
        """Open the shard.

        Raises:
            InputError: the shard is torn or corrupt, or the index has no such shard.
        """
        engine.use_one_thread()
        with self.ledger.busy(Axis.DATA):
            held = self._hold(self._first_lease())
            try:
                held.open(self._dir, None)
            except InputError:
                self.close()
                raise
        self._read_through(held)

    def handle(self, body: bytes, deadline: Deadline) -> bytes:
        """Search; scanning vectors is work of the data axis."""
        if deadline.expired():
            raise InputError("the deadline had passed before the search")
        if body.startswith(PROBE):
            return self._probed(body.removeprefix(PROBE).decode())
        request = Request.unpack(body)
        held = self._of(request.generation)
        held.done.wait(max(0.0, deadline.left_s()))
        if held.refused:
            raise InputError(held.refused)
        if held.shard is None:
            raise InputError(f"generation {request.generation} is still being opened")
        self._let_go(held)
        with self.ledger.busy(Axis.DATA):
            reply = held.shard.search(request).pack()
        self.ledger.charge(Axis.DATA, bytes=len(body) + len(reply))
        return reply

    def newest(self) -> Shard:
        """The shard in the generation that was opened last.

        Raises:
            InputError: none is open.
        """
        for held in reversed(tuple(self._held.values())):
            if held.shard is not None:
                return held.shard
        raise InputError(f"{self._shard} is not open")

    def close(self) -> None:
        """Let go of the files; a process does so by ending."""
        self._closed.set()
        for held in self._held.values():
            held.lease.close()
        self._held.clear()

    def _probed(self, generation: str) -> bytes:
        """Whether a generation is open here; it begins to open if it was never heard of."""
        try:
            held = self._of(generation)
        except InputError as error:
            return REFUSED + str(error).encode()
        # No longer: the queries behind the probe would wait too.
        held.done.wait(_PROBE_WAITS_S)
        self._let_go(held)
        if held.refused:
            return REFUSED + held.refused.encode()
        return OPENING if held.shard is None else OPEN

    def _first_lease(self) -> Lease:
        try:
            return lease(self._dir, self._first or None)
        except InputError:
            if not self._first:
                raise
            # Started late: what it was told to serve has been replaced and removed meanwhile.
            return lease(self._dir)

    def _hold(self, leased: Lease) -> _Held:
        held = self._held[leased.manifest.generation] = _Held(leased, self._shard)
        held.asked_s = self._clock()
        return held

    def _of(self, generation: str) -> _Held:
        """The generation that is asked for; it begins to open if it was never heard of."""
        name = generation or next(reversed(self._held))
        if name not in self._held:
            shards = [held.shard for held in self._held.values() if held.shard is not None]
            held = self._hold(lease(self._dir, name))
            threading.Thread(
                target=self._open_behind, args=(held, shards[-1] if shards else None), daemon=True
            ).start()
        held = self._held[name]
        held.asked_s = self._clock()
        return held

    def _open_behind(self, held: _Held, beside: Shard | None) -> None:
        held.open_behind(self._dir, beside)
        self._read_through(held)

    def _read_through(self, held: _Held) -> None:
        """Check what was too large to check before serving, on a thread of its own."""
        if held.shard is not None:
            threading.Thread(
                target=held.shard.read_through, args=(self._closed.wait,), daemon=True
            ).start()

    def _let_go(self, served: _Held) -> None:
        """Drop the generations that nobody has asked for in a while."""
        for name, held in tuple(self._held.items()):
            idle_s = self._clock() - held.asked_s
            if held is not served and held.done.is_set() and idle_s > LET_GO_AFTER_S:
                del self._held[name]
                held.lease.close()
