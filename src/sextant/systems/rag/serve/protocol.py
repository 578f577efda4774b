"""uvicorn's protocol with what it lets last for ever bounded, and the turnstile before it."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from sextant.systems.rag.serve.limits import Limits
from sextant.systems.rag.serve.refusal import Refusal
from sextant.systems.rag.serve.turnstile import Turnstile, answer_of

_CROWDED = Refusal(
    429, "too many connections", hint="keep one open, or ask again", retry_after_s=1.0, why="full"
)
_MOST_CONNECTIONS = 2
"""So many times the limit are open for as long as it takes to say that it is reached."""


class Bounded(H11Protocol):
    """Lets go of a client whose headers do not come to an end, or who does not read."""

    limits: Limits
    turnstile: Turnstile
    _headers: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None
    _turned_away = False
    _passed_over = 0

    def connection_made(self, transport: Any) -> None:
        """A connection was opened."""
        super().connection_made(transport)
        self._headers = self._soon(self.limits.header_s)
        if len(self.connections) > _MOST_CONNECTIONS * self.limits.connections:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Something came on it."""
        if len(self.connections) > self.limits.connections and self._is_between():
            self.transport.write(answer_of(_CROWDED, closing=True))
            self.transport.close()
            return
        data = self._after_turned_away(data)
        if not data:
            return
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._cancel()
        elif self._headers is None:
            self._headers = self._soon(self.limits.header_s)

    def _after_turned_away(self, data: bytes) -> bytes:
        """What is left of the data without the questions that are turned away."""
        while data:
            if self._passed_over:
                skipped = min(self._passed_over, len(data))
                self._passed_over -= skipped
                data = data[skipped:]
                continue
            if self._turned_away:
                # Something new begins: it has its own time.
                self._turned_away = False
                self._cancel()
            away = None
            # Who asks and asks without reading the answers is held up the long way.
            if self._is_between() and not self.flow.write_paused:
                away = self.turnstile.turned_away(data, self.server_state.default_headers)
            if away is None:
                break
            self._unset_keepalive_if_required()
            self._cancel()
            self._turned_away, self._passed_over = True, away.num_bytes
            self._headers = self._soon(self.limits.idle_s)
            self.transport.write(away.answer)
        return data

    def _is_between(self) -> bool:
        """Whether no request is under way, not even the beginning of one."""
        if self.cycle is not None and not self.cycle.response_complete:
            return False
        return self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]

    def pause_writing(self) -> None:
        """The other side reads too slowly."""
        super().pause_writing()
        self._reading = self._soon(self.limits.send_s)

    def resume_writing(self) -> None:
        """It has caught up."""
        if self._reading is not None:
            self._reading.cancel()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._cancel()
        super().connection_lost(exc)

    def _cancel(self) -> None:
        if self._headers is not None:
            self._headers.cancel()
            self._headers = None

    def _soon(self, seconds: float) -> asyncio.TimerHandle:
        return self.loop.call_later(seconds, self.transport.abort)


def bounded(limits: Limits, turnstile: Turnstile) -> type[Bounded]:
    """The protocol of one server; uvicorn makes one a connection."""
    return type("BoundedHere", (Bounded,), {"limits": limits, "turnstile": turnstile})
