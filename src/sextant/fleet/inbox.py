"""Where the threads of the wire leave news for the thread that asked.

The asking thread sleeps until as much news has come as it waits for, so that an ask of many members
wakes it once rather than once a reply; bad news wakes it at once.
"""

from __future__ import annotations

import contextlib
import queue
import sys
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from sextant.fleet.messages import ReplyHeader
from sextant.fleet.replicas import Replicas, Standing


class Part:
    """What is asked of one member in one ask, and of which of its replicas."""

    __slots__ = ("body", "done", "hedge_at_s", "name", "open", "replicas", "tried", "why")

    def __init__(self, name: str, body: bytes, replicas: Replicas) -> None:
        self.name = name
        self.body = body
        self.replicas = replicas
        self.tried: list[Standing] = []
        self.open: list[Sent] = []
        self.why: dict[str, str] = {}
        self.hedge_at_s = 0.0
        self.done = False

    def reasons(self) -> str:
        """Why nobody has answered; which replica only where there are several."""
        if self.replicas.alone:
            return next(iter(self.why.values()), "deadline")
        return "; ".join(f"{name} {why}" for name, why in self.why.items())


class Sent:
    """One request that is under way to one replica; without an inbox it is a probe."""

    __slots__ = ("epoch", "expires_s", "inbox", "part", "sent_s", "standing")

    def __init__(
        self,
        part: Part,
        standing: Standing,
        inbox: Inbox | None,
        epoch: int,
        sent_s: float,
        expires_s: float,
    ) -> None:
        self.part = part
        self.standing = standing
        self.inbox = inbox
        self.epoch = epoch
        self.sent_s = sent_s
        self.expires_s = expires_s


class News(NamedTuple):
    """The end of one request: its reply, or none if none will come."""

    sent: Sent
    at_s: float
    header: ReplyHeader | None = None
    sample: Any = None


class Inbox:
    """The news of one ask; left by many threads, taken by one."""

    def __init__(self) -> None:
        self._news: deque[News] = deque()
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._enough = sys.maxsize

    def put(self, news: News, *, urgent: bool) -> None:
        """Leaves one piece of news; what is urgent does not wait for more."""
        self._news.append(news)
        if urgent or len(self._news) >= self._enough:
            self._wake.put(None)

    def take(self, enough: int, timeout_s: float) -> Iterator[News]:
        """All news: once there are `enough` pieces or an urgent one, or after `timeout_s`."""
        self._enough = enough
        if len(self._news) < enough:
            # Woken for nothing at worst, by what was urgent before: the caller looks again.
            with contextlib.suppress(queue.Empty):
                self._wake.get(timeout=timeout_s)
        self._enough = sys.maxsize
        while self._news:
            yield self._news.popleft()
