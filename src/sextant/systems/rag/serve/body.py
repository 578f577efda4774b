"""A request's body, read within its bounds before anything looks at it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from sextant.systems.rag.serve.refusal import Refusal

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

_THROWN_AWAY_BYTES = 8 << 20
"""Read of a body that is too large, so that its sender lives to read the refusal."""


class Gone(Exception):  # noqa: N818
    """The client went away before the end of its request."""


async def read_body(scope: Scope, receive: Receive, most_bytes: int, within_s: float) -> bytes:
    """The whole body.

    Raises:
        Refusal: 413, it is larger than it may be; 408, it took too long.
        Gone: the client went away.
    """
    try:
        async with asyncio.timeout(within_s):
            return await _read(scope, receive, most_bytes)
    except TimeoutError:
        what = f"the body took longer than {within_s:g} s"
        raise Refusal(408, what, where="body", why="slow") from None


async def _read(scope: Scope, receive: Receive, most_bytes: int) -> bytes:
    pieces, num_bytes, more = [], 0, _has_body(scope)
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        piece = message.get("body", b"")
        num_bytes += len(piece)
        more = message.get("more_body", False)
        if num_bytes <= most_bytes:
            pieces.append(piece)
        elif num_bytes > _THROWN_AWAY_BYTES:
            break
        else:
            pieces.clear()
    if num_bytes > most_bytes:
        raise Refusal(
            413,
            f"a body of more than {most_bytes:,} bytes",
            where="body",
            hint="ask with fewer words",
            why="large",
        )
    return b"".join(pieces)


def _has_body(scope: Scope) -> bool:
    names = {name for name, _ in scope["headers"]}
    return bool(names & {b"content-length", b"transfer-encoding"})


def replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once, and then what the connection says."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
