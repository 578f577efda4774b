"""Where the islands' outer gradients meet: one round after the other, whoever of them is there.

A round closes when every island at work has delivered (the first: every island that there is), or
when its patience is over; then all who delivered get the same move. One that comes late, or anew,
gets the weights as they stand. Kept after every round, so that a harbour may be killed and go on.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sextant.errors import EngineError, InputError
from sextant.systems.pretraining.islands.mail import Line
from sextant.systems.pretraining.islands.outer import Outer
from sextant.systems.pretraining.islands.quantize import Vector, unpacked
from sextant.systems.pretraining.islands.terms import Terms

STATE_FILE = "harbour.npz"
_LOOK_S = 0.05
_SILENCE_S = 3600.0
"""A link with nothing on it for so long is given up; an island speaks once a round."""
_GREETING_S, _GREETING_BYTES, _STRANGERS = 10.0, 1 << 12, 32
"""Until it is let in a link has so long for its greeting, of so many bytes beside its head; and so
many links may be at that at once."""


def digest(weights: Vector) -> str:
    """Names weights, so that they need not travel where both sides have them."""
    return hashlib.sha256(weights.astype("<f4").tobytes()).hexdigest()


@dataclass(slots=True)
class _Guest:
    """An island with a link: whether the next round waits for it."""

    line: Line
    joined: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class Harbour:
    """Serves rounds until it is closed.

    Args:
        weights: to begin with, the same that the islands begin with.
        terms: of the outer loop.
        folder: where it keeps its state, and finds it again.
        identity: of the job; an island of another one is refused.
        token: that islands must know; empty lets all in.
        listen: host and port; port 0 takes a free one.
        note: told every event: a round, a guest that came, one that left.
    """

    def __init__(
        self,
        weights: Vector,
        terms: Terms,
        folder: Path,
        *,
        identity: str,
        token: str = "",
        listen: tuple[str, int] = ("127.0.0.1", 0),
        note: Callable[..., None] = lambda *_a, **_k: None,
    ) -> None:
        self._terms, self._folder, self._note = terms, folder, note
        self._identity, self._token = identity, token
        self._outer = Outer(weights, terms)
        self._guests: dict[int, _Guest] = {}
        self._delivered: dict[int, Vector] = {}
        self._waiting: list[int] = []
        self._strangers = threading.BoundedSemaphore(_STRANGERS)
        self._first_s: float | None = None
        self._over = False
        self._change = threading.Condition()
        self._restore()
        self._door = socket.create_server(listen)
        self.place: tuple[str, int] = self._door.getsockname()[:2]
        self._threads = [
            threading.Thread(target=run, daemon=True) for run in (self._take_in, self._close_rounds)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def round(self) -> int:
        """Rounds that were closed."""
        return self._outer.round

    @property
    def guests(self) -> tuple[int, ...]:
        """Islands that have a link now."""
        with self._change:
            return tuple(sorted(self._guests))

    @property
    def weights(self) -> Vector:
        """What all islands share now."""
        with self._change:
            return self._outer.shared.copy()

    def close(self) -> None:
        """Ends all links."""
        with self._change:
            self._over = True
            guests = list(self._guests.values())
            self._change.notify_all()
        with contextlib.suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)  # or it would listen until somebody came
        for guest in guests:
            guest.line.close()
        for thread in self._threads:
            thread.join(5.0)
        self._door.close()

    def _take_in(self) -> None:
        while not self._over:
            try:
                link, _ = self._door.accept()
            except OSError:
                return
            if not self._strangers.acquire(blocking=False):
                link.close()
                continue
            line = Line(link, most_bytes=_GREETING_BYTES, timeout_s=_GREETING_S)
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: Line) -> None:
        island = None
        try:
            island = self._let_in(line)
            line.allow(most_bytes=5 * len(self._outer.shared) + 4096, timeout_s=_SILENCE_S)
            while True:
                head, body = line.receive()
                if head.get("do") != "deliver":
                    raise EngineError("said something else than it may")
                self._take(island, head, body)
        except (OSError, EngineError, InputError, KeyError, TypeError, ValueError) as error:
            self._leave(line, island, str(error))

    def _let_in(self, line: Line) -> int:
        """Hears a greeting, if it comes in time: a link that drips must not stay for ever."""
        late = threading.Timer(_GREETING_S, line.close)
        late.start()
        try:
            head, _ = line.receive()
            if head.get("do") != "hello":
                raise EngineError("said before it was let in")
            return self._greet(line, head)
        finally:
            late.cancel()
            self._strangers.release()

    def _greet(self, line: Line, head: dict[str, Any]) -> int:
        """Lets an island in; it begins at once if nobody is at work, or else with the next round.

        Raises:
            InputError: it is of another job, or does not know the token.
        """
        known = hmac.compare_digest(str(head.get("token", "")), self._token)
        if not known or head.get("identity") != self._identity:
            why = "an island of another job" if known else "the token is not the harbour's"
            line.send({"do": "refused", "why": why})
            raise InputError(why)
        island = int(head["island"])
        if not 0 <= island < self._terms.islands:
            why = f"island {island} is none of {self._terms.islands}"
            line.send({"do": "refused", "why": why})
            raise InputError(why)
        with self._change:
            old = self._guests.pop(island, None)
            self._guests[island] = guest = _Guest(line)
            alone = not any(g.joined for g in self._guests.values())
            # The first round waits for every island, so none need wait for its end.
            first = self._outer.round == 0
            if alone or first or head.get("round") == self._outer.round:
                self._admit(island, guest, head.get("digest"))
            else:
                self._waiting.append(island)
            self._change.notify_all()
        if old is not None and old.line is not line:
            old.line.close()
        self._note("guest", island=island, round=self._outer.round)
        return island

    def _admit(self, island: int, guest: _Guest, has: str | None) -> None:
        """Tells an island where things stand; the lock is held, so no round closes meanwhile."""
        guest.joined = True
        shared, number = self._outer.shared, self._outer.round
        same = has is not None and has == digest(shared)
        body = b"" if same else shared.astype("<f4").tobytes()
        self._post(island, guest, {"do": "join", "round": number}, body)

    def _take(self, island: int, head: dict[str, Any], body: bytes) -> None:
        gradient = unpacked(body, len(self._outer.shared), self._terms.bits)
        if not np.isfinite(gradient).all():
            raise EngineError(f"island {island} delivered what is not finite")
        with self._change:
            guest = self._guests[island]
            if head["round"] != self._outer.round:
                self._admit(island, guest, None)
                return
            guest.joined = True
            self._delivered[island] = gradient
            self._first_s = self._first_s or time.monotonic()
            self._change.notify_all()

    def _close_rounds(self) -> None:
        while True:
            with self._change:
                self._change.wait(_LOOK_S if self._delivered else 1.0)
                if self._over:
                    return
                if self._waiting and not any(g.joined for g in self._guests.values()):
                    self._let_wait_end()  # those at work are gone: nobody will close the round
                if not self._ripe():
                    continue
                told = sorted(self._delivered)
                move = self._outer.step([self._delivered[n] for n in told])
                waited_s = time.monotonic() - (self._first_s or 0.0)
                self._delivered, self._first_s = {}, None
                try:
                    self._keep()
                except OSError as error:  # a later round may be kept; the islands go on
                    self._note("unkept", round=self._outer.round, why=str(error))
                links = [(n, self._guests[n]) for n in told if n in self._guests]
                for number, guest in self._guests.items():
                    # Who did not deliver is not waited for again until it does.
                    guest.joined = number in told
                self._let_wait_end()
            head = {"do": "move", "round": self._outer.round, "islands": told}
            for island, guest in links:
                self._post(island, guest, head, move)
            self._note("round", round=self._outer.round, islands=told, waited_s=waited_s)

    def _let_wait_end(self) -> None:
        new, self._waiting = self._waiting, []
        for island in new:
            if island in self._guests:
                self._admit(island, self._guests[island], None)

    def _ripe(self) -> bool:
        if not self._delivered:
            return False
        awaited = {n for n, guest in self._guests.items() if guest.joined}
        if self._outer.round == 0:
            awaited = set(range(self._terms.islands))  # also those that are still on their way
        late = time.monotonic() - (self._first_s or 0.0) > self._terms.patience_s
        return late or awaited <= set(self._delivered)

    def _post(self, island: int, guest: _Guest, head: dict[str, Any], body: bytes) -> None:
        """Sends from a thread of its own: a slow link must not hold the others up."""

        def send() -> None:
            try:
                with guest.lock:
                    guest.line.send(head, body)
            except OSError as error:
                self._leave(guest.line, island, str(error))

        threading.Thread(target=send, daemon=True).start()

    def _leave(self, line: Line, island: int | None, why: str) -> None:
        line.close()
        with self._change:
            if self._over or island is None or self._guests.get(island) is None:
                return
            if self._guests[island].line is not line:
                return
            del self._guests[island]
            self._change.notify_all()
        self._note("gone", island=island, why=why, sent=line.sent, received=line.received)

    def _keep(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        beside = self._folder / f"{STATE_FILE}.new"
        with beside.open("wb") as stream:
            state: dict[str, Any] = dict(self._outer.state())
            np.savez(stream, round=np.array(self._outer.round), **state)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(self._folder / STATE_FILE)

    def _restore(self) -> None:
        path = self._folder / STATE_FILE
        if not path.is_file():
            return
        try:
            with np.load(path, allow_pickle=False) as kept:
                state = {name: kept[name] for name in ("shared", "momentum", "owed")}
                number = int(kept["round"])
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"damaged: {error}", where=str(path)) from error
        if any(len(vector) != len(self._outer.shared) for vector in state.values()):
            raise InputError("of another model", where=str(path))
        self._outer.restore(state, number)
