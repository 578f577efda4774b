"""An island's side of the exchange: delivers what it learned, and takes the shared move."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sextant.errors import EngineError, InputError
from sextant.systems.pretraining.islands.harbour import digest
from sextant.systems.pretraining.islands.mail import Line
from sextant.systems.pretraining.islands.quantize import Feedback, Vector, unpacked
from sextant.systems.pretraining.islands.terms import Terms

_AGAIN_S = 0.2
_LONGEST_PAUSE_S = 5.0
_MOST_LOSSES = 20
"""Deliveries of one round that the harbour may hang up on, before an island gives up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Landed:
    """Where an exchange left the island.

    Attributes:
        weights: to go on with.
        round: that they begin.
        took_part: whether what it had learned is in them.
        seconds: that it took.
        sent_bytes, received_bytes: over the link.
    """

    weights: Vector
    round: int
    took_part: bool
    seconds: float
    sent_bytes: int
    received_bytes: int


class Sailor:
    """Talks to the harbour for one island; connects again when the link or the harbour is lost.

    Args:
        terms: of the outer loop.
        identity: of the job.
        token: of the harbour.
        stall_s: for how long it tries to reach a harbour that does not answer.
        clock, sleep: of this process.
    """

    def __init__(
        self,
        terms: Terms,
        *,
        identity: str,
        token: str = "",
        stall_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._terms, self._identity, self._token = terms, identity, token
        self._stall_s, self._clock, self._sleep = stall_s, clock, sleep
        self._place = terms.place()
        self._line: Line | None = None
        self._shared: Vector | None = None
        self._round = 0
        self._feedback: Feedback | None = None
        self._past = (0, 0)

    def join(self, weights: Vector) -> Landed:
        """Says hello with the weights it has; gives those that it must begin with.

        Raises:
            InputError: the harbour refuses.
            EngineError: it cannot be reached.
        """
        before, begun_s = self._bytes(), self._clock()
        self._feedback = Feedback(len(weights), self._terms.bits)
        self._shared = weights
        return self._landed(self._greet(None), False, before, begun_s)

    def exchange(self, weights: Vector) -> Landed:
        """Delivers what was learned since the last exchange.

        Raises:
            InputError: the harbour refuses.
            EngineError: it cannot be reached, or says what is no answer; or what was learned is
                not finite.
        """
        before, begun_s = self._bytes(), self._clock()
        if not np.isfinite(weights).all():
            raise EngineError("the weights of this island are not finite; no other shall have them")
        assert self._feedback is not None
        assert self._shared is not None
        body, _ = self._feedback.pack(self._shared - weights)
        number, losses = self._round, 0
        while True:
            if losses:
                self._sleep(min(_AGAIN_S * losses, _LONGEST_PAUSE_S))
            if losses > _MOST_LOSSES:
                raise EngineError(f"the harbour hung up on {losses} deliveries of a round")
            if self._line is None:
                landed = self._greet(number)  # gives up when the harbour stays away
                if landed[1] != number:
                    return self._landed(landed, False, before, begun_s)
            line = self._line
            assert line is not None
            try:
                line.send({"do": "deliver", "round": number}, body)
                head, answer = line.receive()
                break
            except (OSError, EngineError):
                self._drop()
                losses += 1
        if head.get("do") == "join":  # the round closed without us
            return self._landed(self._adopt(head, answer), False, before, begun_s)
        if head.get("do") != "move" or head.get("round") != number + 1:
            raise EngineError("the harbour gave no answer to a delivery")
        move = unpacked(answer, len(weights), self._terms.bits)
        self._shared, self._round = self._shared + move, number + 1
        return self._landed((self._shared, self._round), True, before, begun_s)

    def close(self) -> None:
        """Ends the link."""
        self._drop()

    def _greet(self, number: int | None) -> tuple[Vector, int]:
        """Reaches the harbour, and hears where things stand."""
        assert self._shared is not None
        until_s = self._clock() + self._stall_s
        hello = {
            "do": "hello",
            "island": self._terms.island,
            "identity": self._identity,
            "token": self._token,
            "digest": digest(self._shared),
            "round": number,
        }
        most = 5 * len(self._shared) + 4096
        # An answer may have to wait for the others' round to close.
        waits_s = self._terms.patience_s + self._stall_s + 3600.0
        while True:
            try:
                self._line = Line.to(self._place, most_bytes=most, timeout_s=waits_s)
                self._line.send(hello)
                head, body = self._line.receive()
            except OSError as error:
                self._drop()
                if self._clock() > until_s:
                    what = f"the harbour cannot be reached: {error}"
                    raise EngineError(what, where=self._terms.harbour) from None
                self._sleep(_AGAIN_S)
                continue
            if head.get("do") == "refused":
                self._drop()
                raise InputError(str(head.get("why"))[:200], where=self._terms.harbour)
            return self._adopt(head, body)

    def _adopt(self, head: dict[str, Any], body: bytes) -> tuple[Vector, int]:
        assert self._shared is not None
        if head.get("do") != "join":
            raise EngineError("the harbour did not say where things stand")
        if body:
            self._shared = unpacked(body, len(self._shared), 32)
        self._round = int(head["round"])
        return self._shared, self._round

    def _drop(self) -> None:
        if self._line is not None:
            self._past = self._bytes()
            self._line.close()
            self._line = None

    def _bytes(self) -> tuple[int, int]:
        line = self._line
        sent, received = self._past
        return (sent + line.sent, received + line.received) if line else (sent, received)

    def _landed(
        self, where: tuple[Vector, int], took_part: bool, before: tuple[int, int], begun_s: float
    ) -> Landed:
        sent, received = self._bytes()
        return Landed(
            weights=where[0],
            round=where[1],
            took_part=took_part,
            seconds=self._clock() - begun_s,
            sent_bytes=sent - before[0],
            received_bytes=received - before[1],
        )
