"""Turns questions away by their first line while there is no room for one more.

Under overload most requests are refused, so what a refusal costs decides how many are answered. A
question that comes to a full gate is known by its head alone: nothing parses it, no task is made,
no body is waited for, and the log has a line a second for all of them. Whatever looks unlike the
plainest request goes the long way, where it is judged with care; so nothing is let in here, and
nothing is told but that the server is full.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Sequence
from http import HTTPStatus
from typing import NamedTuple

from sextant.systems.rag.serve.answers import HEADERS, encoded
from sextant.systems.rag.serve.gate import Gate
from sextant.systems.rag.serve.journal import Journal
from sextant.systems.rag.serve.measures import Measures
from sextant.systems.rag.serve.refusal import Refusal

_PLAIN = re.compile(
    rb"POST (/search|/ask) HTTP/1\.1\r\n((?:[A-Za-z0-9-]+:[\t\x20-\x7e]*\r\n)+)\r\n"
)
_LENGTH = re.compile(rb"^content-length:[ \t]*([0-9]{1,7})[ \t]*\r$", re.IGNORECASE | re.MULTILINE)
_UNUSUAL = re.compile(
    rb"^(?:transfer-encoding|expect|upgrade|connection:(?![ \t]*keep-alive[ \t]*\r$)|"
    rb"content-length:(?![ \t]*[0-9]{1,7}[ \t]*\r$))",
    re.IGNORECASE | re.MULTILINE,
)
_MOST_HEAD_BYTES = 8_192
_WRITTEN_EVERY_S = 1.0
_FIXED = b"".join(f"{name.lower()}: {value}\r\n".encode() for name, value in HEADERS.items())


class TurnedAway(NamedTuple):
    """What to send, and how many bytes of the request to pass over, its body included."""

    answer: bytes
    num_bytes: int


class Turnstile:
    """One a server, used from its event loop.

    Args:
        gate: says whether there is room.
        most_bytes: a request that announces a larger body goes the long way.
    """

    def __init__(self, gate: Gate, measures: Measures, journal: Journal, most_bytes: int) -> None:
        self._gate = gate
        self._measures = measures
        self._journal = journal
        self._most_bytes = most_bytes
        self._unwritten = 0

    def turned_away(
        self, data: bytes, headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> TurnedAway | None:
        """The refusal of the question that begins with `data`; None if it is to be let on.

        Args:
            data: what came on a connection on which no request is under way.
            headers: of every answer of the server.
        """
        refusal = self._gate.refusal()
        if refusal is None:
            return None
        plain = _PLAIN.match(data, 0, _MOST_HEAD_BYTES)
        if plain is None:
            return None
        # With its last line end, which marks where the last header ends.
        lines = plain[2]
        lengths = _LENGTH.findall(lines)
        if len(lengths) != 1 or _UNUSUAL.search(lines) or int(lengths[0]) > self._most_bytes:
            return None
        self._count(plain[1].decode(), refusal)
        return TurnedAway(answer_of(refusal, headers), plain.end() + int(lengths[0]))

    def _count(self, route: str, refusal: Refusal) -> None:
        self._measures.refused(refusal.why)
        self._measures.request(route, refusal.status, 0.0)
        self._unwritten += 1
        if self._unwritten == 1:
            asyncio.get_running_loop().call_later(_WRITTEN_EVERY_S, self._write)

    def _write(self) -> None:
        self._journal.line("turned away", questions=self._unwritten)
        self._unwritten = 0


def answer_of(
    refusal: Refusal, headers: Sequence[tuple[bytes, bytes]] = (), *, closing: bool = False
) -> bytes:
    """A refusal as HTTP/1.1, whole; `closing` if the connection ends with it."""
    body = encoded(refusal.as_json())
    own = {**refusal.headers(), "x-request-id": secrets.token_hex(6)}
    if closing:
        own["connection"] = "close"
    return b"".join(
        (
            f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}\r\n".encode(),
            *(name + b": " + value + b"\r\n" for name, value in headers),
            *(f"{name.lower()}: {value}\r\n".encode() for name, value in own.items()),
            b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body),
            _FIXED,
            b"\r\n",
            body,
        )
    )
