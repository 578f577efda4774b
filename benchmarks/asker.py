"""Asks questions over HTTP on raw sockets, from a process of its own, at next to no cost.

What asks must not be what is slow: a question costs about a tenth of a millisecond here, so that
two cores are left to what is asked. Run as `python -m benchmarks.asker` with a `Load` as JSON on
standard input; the answers come as JSON on standard output.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

_ROOT = Path(__file__).parents[1]
_GIVEN_UP_AFTER_S = 5.0
_STARTED_WITHIN_S = 30.0
_SWEPT_EVERY_S = 0.25


class Asked(NamedTuple):
    """One question: seconds from when it was due to its answer, the status (0: none came), and how
    late it was sent, which is the asker's fault.
    """

    took_s: float
    status: int
    late_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What to ask of whom.

    Attributes:
        urls: the servers, asked by turns.
        questions: asked by turns.
        deadline_s: of each.
        seconds: how long to ask.
        clients: so many that each ask the next question when the last is answered; or
        rate: questions a second, whatever becomes of those before.
    """

    urls: Sequence[str]
    questions: Sequence[str]
    deadline_s: float
    seconds: float
    clients: int = 0
    rate: float = 0.0


def asked(load: Load) -> list[Asked]:
    """Asks from another process, and waits until it is over."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.asker"],
        input=json.dumps(asdict(load)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=_ROOT,
        timeout=load.seconds + load.deadline_s + _GIVEN_UP_AFTER_S + _STARTED_WITHIN_S,
    )
    return [Asked(*one) for one in json.loads(done.stdout)]


class _Line:
    """A connection with at most one question on it."""

    __slots__ = ("at_s", "due_s", "got", "message", "router", "socket", "used")

    def __init__(self, place: tuple[str, int], router: int) -> None:
        self.router = router
        self.socket = socket.create_connection(place, timeout=_GIVEN_UP_AFTER_S)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.at_s = self.due_s = 0.0
        self.got = self.message = b""
        self.used = False


class _Asker:
    """One thread, all connections."""

    def __init__(self, load: Load) -> None:
        self._load = load
        parts = [urlsplit(url) for url in load.urls]
        self._places = [(str(one.hostname), int(one.port or 80)) for one in parts]
        self._messages = [_message(question, load.deadline_s) for question in load.questions]
        self._idle: list[list[_Line]] = [[] for _ in load.urls]
        self._selector = selectors.EpollSelector()
        self._busy: dict[_Line, None] = {}
        self._number = 0
        self.found: list[Asked] = []

    def run(self) -> None:
        """Asks until the time is over, then waits for what is still to come."""
        start_s = time.monotonic()
        end_s = start_s + self._load.seconds
        for _ in range(self._load.clients):
            self._ask(start_s)
        due = deque(start_s + n / self._load.rate for n in range(self._most()))
        swept_s = start_s
        while (now_s := time.monotonic()) < end_s or self._busy:
            while due and due[0] <= now_s:
                self._ask(due.popleft())
            wait_s = min(_SWEPT_EVERY_S, due[0] - now_s if due else _SWEPT_EVERY_S)
            for key, _ in self._selector.select(max(0.0, wait_s)):
                if self._hear(key.data) and self._load.clients and time.monotonic() < end_s:
                    self._ask(time.monotonic())
            if now_s - swept_s > _SWEPT_EVERY_S:
                swept_s = now_s
                self._sweep(now_s)

    def _most(self) -> int:
        return int(self._load.rate * self._load.seconds)

    def _ask(self, due_s: float) -> None:
        number, self._number = self._number, self._number + 1
        router = number % len(self._places)
        message = self._messages[number % len(self._messages)]
        if not (self._idle[router] and self._send(self._idle[router].pop(), due_s, message)):
            self._ask_newly(router, due_s, message)

    def _ask_newly(self, router: int, due_s: float, message: bytes) -> None:
        """Asks on a new connection."""
        try:
            line = _Line(self._places[router], router)
        except OSError:
            self.found.append(Asked(time.monotonic() - due_s, 0, 0.0))
            return
        self._selector.register(line.socket, selectors.EVENT_READ, line)
        if not self._send(line, due_s, message):
            self.found.append(Asked(time.monotonic() - due_s, 0, 0.0))

    def _send(self, line: _Line, due_s: float, message: bytes) -> bool:
        """Sends a question; False, and the connection is let go, if it was closed before."""
        line.due_s, line.at_s, line.got, line.message = due_s, time.monotonic(), b"", message
        try:
            line.socket.send(message)
        except OSError:
            self._let_go(line)
            return False
        self._busy[line] = None
        return True

    def _hear(self, line: _Line) -> bool:
        """Reads what came; whether that ends a question."""
        try:
            piece = line.socket.recv(1 << 18)
        except BlockingIOError:
            return False
        except OSError:
            piece = b""
        if not piece:
            return self._closed(line)
        line.got += piece
        head = line.got.find(b"\r\n\r\n")
        if head < 0:
            return False
        at = line.got.find(b"ontent-")
        while line.got[at : at + 15].lower() != b"ontent-length: ":
            at = line.got.find(b"ontent-", at + 1)
        length = int(line.got[at + 15 : line.got.find(b"\r", at)])
        if len(line.got) < head + 4 + length:
            return False
        self._end(line, int(line.got[9:12]))
        line.used = True
        self._idle[line.router].append(line)
        return True

    def _end(self, line: _Line, status: int) -> None:
        del self._busy[line]
        now_s = time.monotonic()
        self.found.append(Asked(now_s - line.due_s, status, line.at_s - line.due_s))

    def _closed(self, line: _Line) -> bool:
        """The server has closed a connection; whether that ends a question."""
        if line not in self._busy or line.got or not line.used:
            return self._drop(line)
        # It may close an idle one at any time, also as a question comes; whoever asks does so once
        # more (RFC 9112, 9.3.1).
        del self._busy[line]
        self._let_go(line)
        self._ask_newly(line.router, line.due_s, line.message)
        return False

    def _drop(self, line: _Line) -> bool:
        """Lets a connection go; whether a question was on it."""
        asking = line in self._busy
        if asking:
            self._end(line, 0)
        else:
            with contextlib.suppress(ValueError):
                self._idle[line.router].remove(line)
        self._let_go(line)
        return asking

    def _let_go(self, line: _Line) -> None:
        self._selector.unregister(line.socket)
        line.socket.close()

    def _sweep(self, now_s: float) -> None:
        for line in tuple(self._busy):
            if now_s - line.at_s > self._load.deadline_s + _GIVEN_UP_AFTER_S:
                self._drop(line)


def _message(question: str, deadline_s: float) -> bytes:
    body = json.dumps({"question": question, "k": 5, "deadline": deadline_s}).encode()
    head = "POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


if __name__ == "__main__":
    asker = _Asker(Load(**json.load(sys.stdin)))
    asker.run()
    json.dump(asker.found, sys.stdout)
