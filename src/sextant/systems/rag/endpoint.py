"""One streamed call to an OpenAI-compatible endpoint, bounded in time and in size.

Names are looked up and bytes are read on a thread of the call's own: neither a name server nor an
endpoint that sends a byte a second can hold the caller past its deadline.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import SplitResult

from sextant.errors import EngineError
from sextant.fleet import Deadline
from sextant.systems.rag.answerers import Cut

_MOST_LINE_BYTES = 1 << 20
_MOST_BYTES = 8 << 20
_MOST_WHY_CHARS = 200
_BUSY = (408, 409, 425, 429, 500, 502, 503, 504)


class Busy(EngineError):  # noqa: N818
    """The endpoint could not be reached, or said to come again.

    Attributes:
        after_s: when, if it said so.
    """

    def __init__(self, what: str, after_s: float = 0.0) -> None:
        super().__init__(what)
        self.after_s = after_s


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """What is sent: the address, the headers, and a JSON body."""

    url: SplitResult
    headers: dict[str, str]
    body: bytes


def pieces(call: Call, deadline: Deadline) -> Generator[str, None, None]:
    """The pieces of text of a streamed chat completion, as they come.

    Raises:
        Busy: it may be tried again; nothing had come.
        EngineError: the endpoint refused, or sent what is no completion.
        Cut: the deadline came, the endpoint broke off, or its limit on tokens was reached.
    """
    line = _Line(call, deadline)
    threading.Thread(target=line.run, name="endpoint", daemon=True).start()
    came = False
    try:
        while True:
            try:
                item = line.items.get(timeout=max(0.0, deadline.left_s()))
            except Empty:
                if came:
                    raise Cut("it was cut off at the deadline") from None
                raise EngineError("no answer by the deadline") from None
            if item is None:
                return
            if isinstance(item, Exception):
                # A connection that ends early is one that breaks off, once there was text.
                raise Cut("the endpoint broke off") if came and isinstance(item, Busy) else item
            came = True
            yield item
    finally:
        line.hang_up()


class _Line:
    """The call itself; `items` are texts, then None at the end or what went wrong."""

    def __init__(self, call: Call, deadline: Deadline) -> None:
        self.items: SimpleQueue[str | Exception | None] = SimpleQueue()
        self._call, self._deadline = call, deadline
        self._socket: socket.socket | None = None
        self._hung_up = False

    def run(self) -> None:
        """Calls and listens, to the end."""
        try:
            for text in self._listen():
                self.items.put(text)
            self.items.put(None)
        except (Cut, EngineError) as error:
            self.items.put(error)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.items.put(Busy(f"cannot be reached: {_short(str(error) or repr(error))}"))

    def hang_up(self) -> None:
        """Ends the call, whatever it waits for."""
        self._hung_up = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _listen(self) -> Iterator[str]:
        url = self._call.url
        kind: Callable[..., http.client.HTTPConnection] = (
            http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        )
        connection = kind(url.hostname, url.port, timeout=max(0.01, self._deadline.left_s()))
        try:
            connection.connect()
            self._socket = connection.sock
            if self._hung_up:
                return
            path = f"{url.path}?{url.query}" if url.query else url.path
            connection.request("POST", path, self._call.body, self._call.headers)
            with connection.getresponse() as response:
                if response.status != 200:
                    raise _refusal(response)
                if "event-stream" in response.getheader("Content-Type", ""):
                    yield from _events(response)
                else:
                    yield _whole(response)
        finally:
            connection.close()


def _events(response: http.client.HTTPResponse) -> Iterator[str]:
    """The texts of server-sent events."""
    total, finish = 0, None
    while line := response.readline(_MOST_LINE_BYTES + 1):
        total += len(line)
        if len(line) > _MOST_LINE_BYTES or total > _MOST_BYTES:
            raise EngineError(f"more than {_MOST_BYTES >> 20} MiB in answer")
        field, _, data = line.decode("utf-8", "replace").strip().partition(":")
        if field != "data" or not data.strip():
            continue
        if data.strip() == "[DONE]":
            break
        choice = _choice(data)
        text = _text(choice.get("delta"))
        if text:
            yield text
        finish = choice.get("finish_reason") or finish
    else:
        if finish is None:
            raise Busy("broke off")
    if finish == "length":
        raise Cut("it reached its limit on tokens")


def _whole(response: http.client.HTTPResponse) -> str:
    """The text of an endpoint that does not stream."""
    data = response.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise EngineError(f"more than {_MOST_BYTES >> 20} MiB in answer")
    return _text(_choice(data.decode("utf-8", "replace")).get("message"))


def _choice(data: str) -> dict[str, Any]:
    """The first choice of a completion, or of a piece of one; empty if it has none."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise EngineError("what came is not a chat completion") from None
    if isinstance(value, dict) and value.get("error"):
        raise EngineError(f"it says: {_short(_message(value))}")
    choices = value.get("choices") if isinstance(value, dict) else None
    if not isinstance(choices, list):
        raise EngineError("what came is not a chat completion")
    choice = choices[0] if choices else {}
    return choice if isinstance(choice, dict) else {}


def _text(message: object) -> str:
    text = message.get("content") if isinstance(message, dict) else None
    return text if isinstance(text, str) else ""


def _refusal(response: http.client.HTTPResponse) -> EngineError:
    """What a status that is not 200 means."""
    try:
        why = _message(json.loads(response.read(_MOST_LINE_BYTES)))
    except (ValueError, RecursionError):
        why = ""
    what = f"HTTP {response.status}{f': {_short(why)}' if why else ''}"
    if response.status not in _BUSY:
        return EngineError(what)
    after = response.getheader("Retry-After", "")
    return Busy(what, float(after) if after.isdecimal() else 0.0)


def _message(value: object) -> str:
    error = value.get("error") if isinstance(value, dict) else None
    return str(error.get("message", "")) if isinstance(error, dict) else str(error or "")


def _short(text: str) -> str:
    """A stranger's text as part of a message: one line, without control characters, not long."""
    clean = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(clean.split())[:_MOST_WHY_CHARS]
