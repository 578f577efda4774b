"""One request to many members, and what came back by the deadline.

The asking thread sends, then sleeps until as much news has come as it waits for: replies, ends of
requests without one, and news that a member is gone. So nothing is polled, nothing blocks, and an
ask of many members wakes its thread once rather than once a reply.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sextant.fleet import wire
from sextant.fleet.answers import Answer, Gather, Missing
from sextant.fleet.deadline import Deadline
from sextant.fleet.health import MemberState
from sextant.fleet.seat import Seat
from sextant.fleet.wire import Outcome, RequestHeader

_GET_GRACE_S = 0.05  # the wire forgets a request a little after its asker did

_News = tuple[str, float, Any]
"""Who, when (`time.perf_counter`), and the reply; none if no reply will come."""


class _Inbox:
    """Where the threads of the wire leave news for the one that asked."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._news: list[_News] = []
        self._enough = sys.maxsize

    def put(self, news: _News) -> None:
        """Leaves one piece of news."""
        with self._changed:
            self._news.append(news)
            if len(self._news) >= self._enough:
                self._changed.notify()

    def take(self, enough: int, timeout_s: float) -> list[_News]:
        """All news, as soon as there are `enough` pieces or after `timeout_s`."""
        with self._changed:
            self._enough = enough
            self._changed.wait_for(lambda: len(self._news) >= enough, timeout_s)
            self._enough = sys.maxsize
            news, self._news = self._news, []
            return news


class Scatter:
    """Asks the members that sit in `seats`; safe to use from many threads at once."""

    def __init__(self, session: Any, seats: Mapping[str, Seat]) -> None:
        self._zenoh = wire.zenoh()
        self._session = session
        self._seats = seats
        self._ids = itertools.count(1)
        self._pending: set[_Inbox] = set()
        self._lock = threading.Lock()

    def ask(self, bodies: Mapping[str, bytes], deadline: Deadline) -> Gather:
        """Asks each member named in `bodies`; returns at the deadline at the latest."""
        start_s = time.perf_counter()
        inbox = _Inbox()
        # Before any state is looked at: news of a change in between must not be lost.
        with self._lock:
            self._pending.add(inbox)
        try:
            call = _Call(self._seats, bodies, start_s)
            self._send(call, bodies, deadline, inbox)
            call.collect(inbox, deadline)
        finally:
            with self._lock:
                self._pending.discard(inbox)
        return call.gather(deadline)

    def tell(self, member: str) -> None:
        """Tells every ask that is under way that a member is not up any more."""
        now_s = time.perf_counter()
        with self._lock:
            for inbox in self._pending:
                inbox.put((member, now_s, None))

    def _send(
        self,
        call: _Call,
        bodies: Mapping[str, bytes],
        deadline: Deadline,
        inbox: _Inbox,
    ) -> None:
        request = next(self._ids)
        timeout_s = max(0.0, deadline.left_s()) + _GET_GRACE_S
        headers: dict[int, bytes] = {}
        for name, body in bodies.items():
            seat = self._seats[name]
            if seat.state is not MemberState.UP:
                call.miss(name, seat.why())
                continue
            epoch, key = seat.epoch, seat.ask_key
            call.wait_for(name, epoch)
            header = headers.get(epoch)
            if header is None:
                header = wire.pack_request(RequestHeader(epoch, deadline.at_s, request))
                headers[epoch] = header
            self._session.get(
                key,
                self._callback(name, inbox),
                payload=body,
                attachment=header,
                timeout=timeout_s,
                consolidation=self._zenoh.ConsolidationMode.NONE,
                congestion_control=self._zenoh.CongestionControl.DROP,
                express=True,
            )

    def _callback(self, name: str, inbox: _Inbox) -> Any:
        replied = False

        def reply(reply: Any) -> None:
            nonlocal replied
            replied = True
            inbox.put((name, time.perf_counter(), reply))

        def end() -> None:
            if not replied:
                inbox.put((name, time.perf_counter(), None))

        # Direct, because the indirect kind starts a thread for every request.
        return self._zenoh.handlers.Callback(reply, end, indirect=False)


class _Call:
    """The books of one ask; used by the asking thread only."""

    def __init__(
        self, seats: Mapping[str, Seat], order: Mapping[str, bytes], start_s: float
    ) -> None:
        self._seats = seats
        self._order: Sequence[str] = tuple(order)
        self._start_s = start_s
        self._epochs: dict[str, int] = {}
        self._answers: dict[str, Answer] = {}
        self._why: dict[str, str] = {}

    def wait_for(self, name: str, epoch: int) -> None:
        """A member was asked."""
        self._epochs[name] = epoch

    def miss(self, name: str, why: str) -> None:
        """A member will not answer."""
        self._epochs.pop(name, None)
        self._why[name] = why

    def collect(self, inbox: _Inbox, deadline: Deadline) -> None:
        """Takes in news until nobody is waited for or the deadline has passed."""
        while self._epochs:
            left_s = deadline.left_s()
            for name, at_s, reply in inbox.take(len(self._epochs), max(0.0, left_s)):
                if name not in self._epochs:
                    continue
                if reply is not None:
                    self._take(name, at_s, reply)
                else:
                    self._lose(name)
            if left_s <= 0:
                return

    def _take(self, name: str, at_s: float, reply: Any) -> None:
        sample = reply.ok
        if sample is None:
            self._lose(name)
            return
        try:
            header = wire.unpack_reply(bytes(sample.attachment))
        except (ValueError, TypeError) as error:
            self.miss(name, f"an answer that cannot be read: {error}")
            return
        if header.epoch != self._epochs[name]:
            return
        if header.outcome is not Outcome.OK:
            why = f": {header.why}" if header.why else ""
            self.miss(name, f"{header.outcome}{why}")
            return
        self._epochs.pop(name)
        total_s = at_s - self._start_s
        self._answers[name] = Answer(
            member=name,
            body=bytes(sample.payload),
            wire_s=max(0.0, total_s - header.queue_s - header.handle_s),
            queue_s=header.queue_s,
            handle_s=header.handle_s,
            total_s=total_s,
        )

    def _lose(self, name: str) -> None:
        seat = self._seats[name]
        gone = seat.state is not MemberState.UP or seat.epoch != self._epochs[name]
        self.miss(name, seat.why() if gone else "its link was lost")

    def gather(self, deadline: Deadline) -> Gather:
        """What came; whoever is still waited for is missing."""
        for name in tuple(self._epochs):
            self.miss(name, self._seats[name].why() if deadline.expired() else "deadline")
        return Gather(
            answers={name: self._answers[name] for name in self._order if name in self._answers},
            missing=tuple(
                Missing(member=name, why=self._why[name])
                for name in self._order
                if name in self._why
            ),
            seconds=time.perf_counter() - self._start_s,
        )
