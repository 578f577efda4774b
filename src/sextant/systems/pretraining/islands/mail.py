"""Messages between an island and the harbour: a small JSON head and many bytes, over one TCP link.

Everything that goes through is counted. A message is bounded before it is read.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import zlib
from collections.abc import Mapping
from typing import Any

from sextant.errors import EngineError

_FRAME = struct.Struct("<4sIQI")
_MARK = b"SXI1"
_MOST_HEAD = 1 << 16
_PIECE = 1 << 18
_QUIET_S, _PROBE_S, _PROBES = 10, 5, 4
"""A link whose other side answers no probe is gone after 10 + 4 x 5 s, even if nothing is sent."""


class Line:
    """One link. `sent` and `received` count its bytes, frames included."""

    def __init__(self, link: socket.socket, *, most_bytes: int, timeout_s: float) -> None:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.settimeout(timeout_s)
        _probe(link)
        self._link, self._most = link, most_bytes
        self.sent = self.received = 0

    @classmethod
    def to(cls, place: tuple[str, int], *, most_bytes: int, timeout_s: float) -> Line:
        """A new link to a harbour.

        Raises:
            OSError: nobody answers there.
        """
        link = socket.create_connection(place, timeout=min(timeout_s, 10.0))
        return cls(link, most_bytes=most_bytes, timeout_s=timeout_s)

    def allow(self, *, most_bytes: int, timeout_s: float) -> None:
        """Changes the bounds, once it is known who is there."""
        self._most = most_bytes
        self._link.settimeout(timeout_s)

    def send(self, head: Mapping[str, Any], body: bytes = b"") -> None:
        """Sends one message.

        Raises:
            OSError: the link is gone, or takes nothing for the time that it was given.
        """
        said = json.dumps(head).encode()
        frame = _FRAME.pack(_MARK, len(said), len(body), zlib.crc32(body, zlib.crc32(said)))
        self._link.sendall(frame + said)
        for at in range(0, len(body), _PIECE):
            self._link.sendall(body[at : at + _PIECE])
        self.sent += len(frame) + len(said) + len(body)

    def receive(self) -> tuple[dict[str, Any], bytes]:
        """The next message.

        Raises:
            OSError: the link is gone, or silent for the time that it was given.
            EngineError: what comes is no message of ours.
        """
        mark, head_bytes, body_bytes, told = _FRAME.unpack(self._exactly(_FRAME.size))
        if mark != _MARK or head_bytes > _MOST_HEAD or body_bytes > self._most:
            raise EngineError("not a message between islands")
        said, body = self._exactly(head_bytes), self._exactly(body_bytes)
        self.received += _FRAME.size + head_bytes + body_bytes
        if zlib.crc32(body, zlib.crc32(said)) != told:
            raise EngineError("a message between islands was damaged on its way")
        try:
            head = json.loads(said)
        except ValueError:
            head = None
        if not isinstance(head, dict):
            raise EngineError("not a message between islands")
        return head, body

    def close(self) -> None:
        """Ends the link, also for whoever waits on it."""
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)
        self._link.close()

    def _exactly(self, count: int) -> bytes:
        data = bytearray(count)
        view, have = memoryview(data), 0
        while have < count:
            came = self._link.recv_into(view[have:], min(count - have, _PIECE))
            if not came:
                raise ConnectionError("the other side closed the link")
            have += came
        return bytes(data)


def _probe(link: socket.socket) -> None:
    """Lets the kernel find out that the other side's host, or the way to it, is gone."""
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    whole_ms = 1000 * (_QUIET_S + _PROBE_S * _PROBES)
    for name, value in (
        ("TCP_KEEPIDLE", _QUIET_S),
        ("TCP_KEEPINTVL", _PROBE_S),
        ("TCP_KEEPCNT", _PROBES),
        ("TCP_USER_TIMEOUT", whole_ms),
    ):
        if hasattr(socket, name):  # Linux has all of them
            link.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
