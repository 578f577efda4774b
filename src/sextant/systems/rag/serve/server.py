"""The socket, and uvicorn with every wait bounded."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sextant.errors import InputError
from sextant.systems.rag.serve.app import build_app
from sextant.systems.rag.serve.desk import Desk
from sextant.systems.rag.serve.door import Rules
from sextant.systems.rag.serve.limits import Limits

_BACKLOG = 128
_MOST_HEADER_BYTES = 32_768


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
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=_bounded(limits),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=limits.connections,
            h11_max_incomplete_event_size=_MOST_HEADER_BYTES,
            timeout_keep_alive=limits.idle_s,  # type: ignore[arg-type]
            timeout_graceful_shutdown=math.ceil(limits.drain_s),
        )
    )


def _bounded(limits: Limits) -> type[H11Protocol]:
    """uvicorn's protocol with what it lets last for ever bounded."""

    class Bounded(H11Protocol):
        """Lets go of a client whose headers do not come to an end, or who does not read."""

        _headers: asyncio.TimerHandle | None = None
        _reading: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._headers = self._soon(limits.header_s)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._cancel()
            elif self._headers is None:
                self._headers = self._soon(limits.header_s)

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
