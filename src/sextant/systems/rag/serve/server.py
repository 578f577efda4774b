"""The socket, and uvicorn with every wait bounded."""

from __future__ import annotations

import logging
import math
import socket
from typing import Any

import uvicorn

from sextant.errors import InputError
from sextant.systems.rag.serve.app import build_app
from sextant.systems.rag.serve.desk import Desk
from sextant.systems.rag.serve.door import Rules
from sextant.systems.rag.serve.protocol import bounded
from sextant.systems.rag.serve.turnstile import Turnstile

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
    turnstile = Turnstile(desk.gate, desk.measures, desk.journal, limits.body_bytes)
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=bounded(limits, turnstile),
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
