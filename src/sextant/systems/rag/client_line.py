"""The client's connections to one server: kept while they are good, bounded in every wait."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Self
from urllib.parse import urlsplit

from sextant.errors import EngineError, InputError

MARGIN_S = 0.25
"""For an answer that was ready at the deadline to arrive."""
_MOST_IDLE = 8
_BROKEN = (OSError, http.client.HTTPException)


class NotNow(Exception):  # noqa: N818
    """A server that does not answer now, though it or another may; `after_s` is when."""

    def __init__(self, what: str, *, full: bool = False, after_s: float = 0.0) -> None:
        super().__init__(what)
        self.full = full
        self.after_s = after_s


class Line:
    """The connections to one server."""

    def __init__(self, address: str, token: str | None) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"not an address: {address!r}", hint="http://127.0.0.1:8765")
        self.address = address
        self._host, self._port = parts.hostname, parts.port
        self._kind: type[http.client.HTTPConnection] = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self._headers = {"Content-Type": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    def begin(self, path: str, body: Mapping[str, Any], left_s: float) -> Underway:
        """Sends a request, and waits for nothing but a connection.

        Raises:
            NotNow: the server is not there.
        """
        data = json.dumps(body).encode()
        with self._lock:
            kept = self._idle.pop() if self._idle else None
        if kept is not None:
            # It may have been closed at the other end since; that says nothing of the server.
            with contextlib.suppress(ConnectionError, http.client.HTTPException):
                return self._sent(kept, path, data, left_s, kept=True)
        return self.begin_afresh(path, data, left_s)

    def begin_afresh(self, path: str, data: bytes, left_s: float) -> Underway:
        """The same on a connection of its own."""
        fresh = self._kind(self._host, self._port, timeout=left_s + MARGIN_S)
        try:
            return self._sent(fresh, path, data, left_s, kept=False)
        except _BROKEN as error:
            raise NotNow(f"{self.address}: {error or type(error).__name__}") from error

    def _sent(
        self,
        connection: http.client.HTTPConnection,
        path: str,
        data: bytes,
        left_s: float,
        *,
        kept: bool,
    ) -> Underway:
        try:
            connection.timeout = left_s + MARGIN_S
            if connection.sock is not None:
                connection.sock.settimeout(connection.timeout)
            connection.request("POST", path, data, self._headers)
        except _BROKEN:
            connection.close()
            raise
        return Underway(self, connection, path, data, kept=kept)

    def take_back(self, connection: http.client.HTTPConnection) -> None:
        """Keep a connection whose answer was read to its end."""
        with self._lock:
            if len(self._idle) < _MOST_IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close what is idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


class Underway:
    """A request that was sent; several may be waited for at once."""

    def __init__(
        self,
        line: Line,
        connection: http.client.HTTPConnection,
        path: str,
        data: bytes,
        *,
        kept: bool,
    ) -> None:
        self.line = line
        self._connection = connection
        self._path = path
        self._data = data
        self._kept = kept

    def fileno(self) -> int:
        """Of the socket, for `select`; readable when the answer begins."""
        return self._connection.sock.fileno()

    def arrived(self, left_s: float) -> Arriving | Underway:
        """The answer, its headers read; or the request sent again, as its connection was stale.

        Raises:
            NotNow: the server is full, is going away, or broke off.
            InputError: it does not take the request.
            EngineError: it failed.
        """
        try:
            self._connection.sock.settimeout(left_s + MARGIN_S)
            answer = Arriving(self.line, self._connection, self._connection.getresponse())
        except _BROKEN as error:
            self.close()
            if self._kept and not isinstance(error, TimeoutError):
                return self.line.begin_afresh(self._path, self._data, left_s)
            raise NotNow(f"{self.line.address}: {error or type(error).__name__}") from error
        if answer.status != 200:
            raise answer.refused()
        return answer

    def close(self) -> None:
        """Wait for it no longer; the server sees that and works on it no longer either."""
        self._connection.close()


class Arriving:
    """An answer that is being read; a context manager that gives its connection back."""

    def __init__(
        self, line: Line, connection: http.client.HTTPConnection, got: http.client.HTTPResponse
    ) -> None:
        self._line = line
        self._connection = connection
        self._got = got
        self.status = got.status

    def json(self) -> dict[str, Any]:
        """The whole body.

        Raises:
            NotNow: it broke off.
            EngineError: it is no JSON object.
        """
        try:
            value = json.loads(self._got.read())
        except _BROKEN as error:
            raise NotNow(f"{self._line.address}: the answer broke off: {error}") from error
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise EngineError("the answer is not of `sextant rag serve`")
        return value

    def lines(self) -> Iterator[str]:
        """The body line by line, as it comes."""
        try:
            for line in self._got:
                yield line.decode().rstrip("\n")
        except _BROKEN as error:
            raise EngineError(f"the answer broke off: {error}") from error

    def refused(self) -> Exception:
        """What a status other than 200 means to the caller."""
        with self:
            try:
                told = self.json()
            except (EngineError, NotNow):
                told = {}
        what = f"{told.get('error', f'status {self.status}')}"
        after_s = told.get("retry_after_s", _whole_seconds(self._got.getheader("Retry-After")))
        if self.status in (429, 503):
            return NotNow(f"{self._line.address}: {what}", full=self.status == 429, after_s=after_s)
        kind = InputError if self.status < 500 else EngineError
        return kind(what, where=told.get("where"), hint=told.get("hint"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._got.isclosed() and not self._got.will_close:
            self._line.take_back(self._connection)
        else:
            self._connection.close()


def _whole_seconds(text: str | None) -> float:
    return float(text) if text is not None and text.isdecimal() else 0.0
