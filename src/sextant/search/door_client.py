"""A small client of the vector door.

Shape suffixes: Q queries, D dimensions, K hits a query.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any, Self

import msgpack
import numpy as np

from sextant.errors import EngineError, InputError
from sextant.fleet import Deadline
from sextant.search import frames
from sextant.search.wire import Floats, Ordinals

_MOST_FRAME_BYTES = 1 << 20
# What an answer may come after its deadline, on the way.
_GRACE_S = 0.25


@dataclass(frozen=True, kw_only=True, slots=True)
class Neighbours:
    """The nearest rows of one vector, best first, among the share of the index that answered."""

    ordinals_K: Ordinals
    scores_K: Floats
    coverage: float


class DoorClient:
    """One connection to a door; a context manager, for one thread.

    Args:
        host: the door's address.
        port: its port.
        token: what it wants to hear.
        timeout_s: for connecting and being let in.

    Raises:
        EngineError: nobody answers there.
        InputError: the door refuses.
    """

    def __init__(self, host: str, port: int, *, token: str = "", timeout_s: float = 5.0) -> None:
        self._where = f"{host}:{port}"
        try:
            self._socket = socket.create_connection((host, port), timeout_s)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.sendall(frames.hello(token))
        except OSError as error:
            raise EngineError(f"no door at {self._where}: {error}") from error
        self._number = 0
        try:
            kind, body = self._frame()
            if kind == frames.REFUSED:
                raise InputError(_why(body), where=self._where)
        except BaseException:
            self.close()
            raise
        self.about: dict[str, Any] = msgpack.unpackb(body)

    def search(self, vector_D: Floats, k: int = 10, *, deadline_s: float = 1.0) -> Neighbours:
        """The K nearest rows of a vector.

        Raises:
            InputError: the vector has other dimensions, or the door refuses.
            EngineError: the connection is lost, or nothing came in time.
        """
        return self.search_many(vector_D[None, :], k, deadline_s=deadline_s)[0]

    def search_many(
        self, queries_QD: Floats, k: int = 10, *, deadline_s: float = 1.0
    ) -> list[Neighbours]:
        """The same for several vectors at once: all are sent before an answer is awaited.

        Raises:
            InputError: as `search`.
            EngineError: as `search`.
        """
        queries_QD = np.ascontiguousarray(queries_QD, "<f4")
        if queries_QD.ndim != 2 or queries_QD.shape[1] != self.about["dims"]:
            raise InputError(f"vectors must have {self.about['dims']} dimensions")
        deadline = Deadline.after(deadline_s)
        first = self._number + 1
        self._number += len(queries_QD)
        found: dict[int, Neighbours] = {}
        self._socket.settimeout(deadline_s + _GRACE_S)
        try:
            for place, query_D in enumerate(queries_QD):
                sent = frames.query_frame(first + place, query_D.tobytes(), k, deadline.at_s)
                self._socket.sendall(sent)
            while len(found) < len(queries_QD):
                kind, body = self._frame()
                # Of queries that were given up, answers may come still.
                if 0 < _number(body) < first:
                    continue
                if kind == frames.REFUSED:
                    raise InputError(_why(body), where=self._where)
                number, one = _neighbours(body)
                found[number] = one
        except OSError as error:
            self.close()
            raise EngineError(f"the door at {self._where} does not answer: {error}") from error
        except EngineError:
            # Half a frame may be left in the socket: what came next would be read amiss.
            self.close()
            raise
        return [found[first + place] for place in range(len(queries_QD))]

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _frame(self) -> tuple[int, bytes]:
        """The next frame: its kind and its body."""
        length, kind = frames.HEAD.unpack(self._exactly(frames.HEAD.size))
        if not 1 <= length <= _MOST_FRAME_BYTES:
            raise EngineError(f"what answers at {self._where} is no door")
        return kind, self._exactly(length - 1)

    def _exactly(self, size: int) -> bytes:
        came = bytearray()
        while len(came) < size:
            try:
                data = self._socket.recv(size - len(came))
            except OSError as error:
                raise EngineError(f"the door at {self._where} does not answer: {error}") from error
            if not data:
                raise EngineError(f"the door at {self._where} has closed")
            came += data
        return bytes(came)


def _number(body: bytes) -> int:
    return int.from_bytes(body[:4], "little")


def _neighbours(body: bytes) -> tuple[int, Neighbours]:
    _, _, number, coverage, hits = frames.HITS_HEAD.unpack(b"\0" * 5 + body[: 4 + 4 + 2])
    start = frames.HITS_HEAD.size - 5
    ordinals_K = np.frombuffer(body, "<i8", hits, start)
    scores_K = np.frombuffer(body, "<f4", hits, start + 8 * hits)
    return number, Neighbours(ordinals_K=ordinals_K, scores_K=scores_K, coverage=coverage)


def _why(body: bytes) -> str:
    return body[4:].decode("utf-8", "replace")
