"""The socket, and uvicorn with every wait bounded."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sextant.errors import InputError
from sextant.systems.rag.serve.app import build_app
from sextant.systems.rag.serve.desk import Desk
from sextant.systems.rag.serve.door import Rules
from sextant.systems.rag.serve.limits import Limits
from sextant.systems.rag.serve.refusal import Refusal
from sextant.systems.rag.serve.turnstile import Turnstile, answer_of

_CROWDED = Refusal(
    429, "too many connections", hint="keep one open, or ask again", retry_after_s=1.0, why="full"
)
_MOST_HEADER_BYTES = 32_768
_MOST_CONNECTIONS = 2
"""So many times the limit are open for as long as it takes to say that it is reached."""


def bind(host: str, port: int) -> socket.socket:
    """A socket with its address, before anything slow begins; it does not listen yet.

    Raises:
        InputError: the address is taken, or none of this machine.
    """
    try:
        # Named as TCP, because asyncio spares no other socket the 40 ms of Nagle's algorithm.
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise InputError(f"no such host: {error}", where=f"--host {host}") from None
    found = socket.socket(family, kind, protocol)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except (OSError, OverflowError) as error:
        found.close()
        why = getattr(error, "strerror", None) or str(error)
        hint = "another --port; 0 takes a free one"
        raise InputError(f"cannot listen there: {why}", where=f"{host}:{port}", hint=hint) from None
    return found


def make_server(desk: Desk, rules: Rules) -> uvicorn.Server:
    """The server, with every bound of the desk's limits. On a thread of its own it leaves signals
    alone.
    """
    for name in ("error", "access"):
        # The journal has a form of its own.
        logging.getLogger(f"uvicorn.{name}").disabled = True
    limits = desk.limits
    app: Any = build_app(desk, rules)
    turnstile = Turnstile(desk.gate, desk.measures, desk.journal, limits.body_bytes)
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=_bounded(limits, turnstile),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=_MOST_HEADER_BYTES,
            timeout_keep_alive=limits.idle_s,  # type: ignore[arg-type]
            timeout_graceful_shutdown=math.ceil(limits.drain_s),
        )
    )


def _bounded(limits: Limits, turnstile: Turnstile) -> type[H11Protocol]:
    """uvicorn's protocol with what it lets last for ever bounded, and the turnstile before it."""

    class Bounded(H11Protocol):
        """Lets go of a client whose headers do not come to an end, or who does not read."""

        _headers: asyncio.TimerHandle | None = None
        _reading: asyncio.TimerHandle | None = None
        _turned_away = False
        _passed_over = 0

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._headers = self._soon(limits.header_s)
            if len(self.connections) > _MOST_CONNECTIONS * limits.connections:
                self.transport.abort()

        def data_received(self, data: bytes) -> None:
            if len(self.connections) > limits.connections and self._is_between():
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
                self._headers = self._soon(limits.header_s)

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
                if self._is_between():
                    away = turnstile.turned_away(data, self.server_state.default_headers)
                if away is None:
                    break
                self._unset_keepalive_if_required()
                self._cancel()
                self._turned_away, self._passed_over = True, away.num_bytes
                self._headers = self._soon(limits.idle_s)
                self.transport.write(away.answer)
            return data

        def _is_between(self) -> bool:
            """Whether no request is under way, not even the beginning of one."""
            if self.cycle is not None and not self.cycle.response_complete:
                return False
            return self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]

        def pause_writing(self) -> None:
            super().pause_writing()
            self._reading = self._soon(limits.send_s)

        def resume_writing(self) -> None:
            if self._reading is not None:
                self._reading.cancel()
            super().resume_writing()

        def connection_lost(self, exc: Exception | None) -> None:
            self._cancel()
            super().connection_lost(exc)

        def _cancel(self) -> None:
            if self._headers is not None:
                self._headers.cancel()
                self._headers = None

        def _soon(self, seconds: float) -> asyncio.TimerHandle:
            return self.loop.call_later(seconds, self.transport.abort)

    return Bounded
