"""One request to many members, and what came back by the deadline.

Each member is asked through one of its replicas. One that is late is hedged: another replica is
asked too, and whichever answers first is heard. One that dies or fails is replaced at once. Nothing
is polled and nothing blocks: the asking thread sends, then sleeps until there is something to do.
"""

from __future__ import annotations

import itertools
import math
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sextant.fleet import messages, wire
from sextant.fleet.answers import Answer, Gather, Missing
from sextant.fleet.deadline import Deadline
from sextant.fleet.health import MemberState
from sextant.fleet.inbox import Inbox, News, Part, Sent
from sextant.fleet.messages import Outcome, ReplyHeader
from sextant.fleet.replicas import Replicas, Standing
from sextant.fleet.roster import Ground

_FORGOTTEN_AFTER_S = 0.5
"""So long after its deadline a request without an answer is not waited for any more."""


@dataclass(slots=True)
class Tally:
    """What asking a gang took beyond one request a member, since the gang was made."""

    asks: int = 0
    hedged: int = 0
    replaced: int = 0
    probed: int = 0


class Scatter:
    """Asks the members of one gang; safe to use from many threads at once."""

    def __init__(self, ground: Ground, role: str, replicas: Mapping[str, Replicas]) -> None:
        zenoh = wire.zenoh()
        self.tally = Tally()
        self._session = ground.session
        self._replicas = replicas
        self._drop = zenoh.CongestionControl.DROP
        # From anywhere: a late answer to a gang of this role that is gone must not look like one.
        self._ids = itertools.count(secrets.randbits(48))
        self._sent: dict[int, Sent] = {}
        self._lock = threading.Lock()
        key = ground.keys.answer(role)
        self._answers = self._session.declare_subscriber(key, wire.direct(self._hear))

    def ask(self, bodies: Mapping[str, bytes], deadline: Deadline) -> Gather:
        """Asks each member named in `bodies`; returns at the deadline at the latest."""
        parts = [Part(name, body, self._replicas[name]) for name, body in bodies.items()]
        return _Call(self, parts, deadline).run()

    def ask_each(self, body: bytes, deadline: Deadline) -> Gather:
        """Asks every replica of every member the same, each under its own name."""
        parts = [
            Part(standing.seat.name, body, replicas.only(standing))
            for replicas in self._replicas.values()
            for standing in replicas.standings
        ]
        return _Call(self, parts, deadline).run()

    def on_probation(self) -> tuple[str, ...]:
        """The replicas that are asked only to see whether they are still slow."""
        return tuple(
            standing.seat.name
            for replicas in self._replicas.values()
            for standing in replicas.standings
            if standing.on_probation
        )

    def count(self, what: Literal["asks", "hedged", "replaced", "probed"]) -> None:
        """Adds one to the tally."""
        with self._lock:
            setattr(self.tally, what, getattr(self.tally, what) + 1)

    def send(self, part: Part, standing: Standing, inbox: Inbox | None, deadline: Deadline) -> None:
        """Sends a part to one replica; without an inbox as a probe, whose answer nobody reads."""
        seat, request, now_s = standing.seat, next(self._ids), time.perf_counter()
        epoch = seat.epoch
        expires_s = now_s + max(0.0, deadline.left_s()) + _FORGOTTEN_AFTER_S
        sent = Sent(part, standing, inbox, epoch, now_s, expires_s)
        with self._lock:
            self._sent[request] = sent
            standing.in_flight += 1
        if inbox is not None:
            part.tried.append(standing)
            part.open.append(sent)
        self._session.put(
            seat.ask_key,
            part.body,
            attachment=messages.pack_request(epoch, request, deadline.at_s),
            congestion_control=self._drop,
        )
        # News of a change that came before the request was noted has not reached it.
        if seat.state is not MemberState.UP or seat.epoch != epoch:
            self._lose([request])

    def tell(self, replica: str) -> None:
        """Tells every ask that is under way that a replica does not serve any more."""
        with self._lock:
            lost = [id_ for id_, sent in self._sent.items() if sent.standing.seat.name == replica]
        self._lose(lost)

    def sweep(self) -> None:
        """Forgets the requests that will not be answered any more."""
        now_s = time.perf_counter()
        with self._lock:
            old = [id_ for id_, sent in self._sent.items() if sent.expires_s < now_s]
        self._lose(old)

    def close(self) -> None:
        """Hears no more answers."""
        self._answers.undeclare()

    def _lose(self, requests: list[int]) -> None:
        for request in requests:
            self._end(request, time.perf_counter(), None, None)

    def _hear(self, sample: Any) -> None:
        """Takes in one answer, on the wire's thread."""
        at_s = time.perf_counter()
        try:
            header = messages.unpack_reply(bytes(sample.attachment))
        except (ValueError, TypeError):
            return
        self._end(header.request, at_s, header, sample)

    def _end(self, request: int, at_s: float, header: ReplyHeader | None, sample: Any) -> None:
        """Ends a request, with its answer or without."""
        with self._lock:
            sent = self._sent.pop(request, None)
            if sent is None:
                return
            standing, replicas = sent.standing, sent.part.replicas
            good = header is not None and header.outcome is Outcome.OK
            standing.in_flight -= 1
            if sent.inbox is None:
                replicas.probed(standing, at_s - sent.sent_s if good else math.inf)
            elif good and not replicas.alone:
                standing.took(at_s - sent.sent_s)
        if sent.inbox is not None and not sent.part.done:
            sent.inbox.put(News(sent, at_s, header, sample), urgent=not good)


class _Call:
    """The books of one ask; used by the asking thread only."""

    def __init__(self, scatter: Scatter, parts: Sequence[Part], deadline: Deadline) -> None:
        self._scatter = scatter
        self._deadline = deadline
        self._start_s = time.perf_counter()
        self._inbox = Inbox()
        self._parts = {part.name: part for part in parts}
        self._open = dict(self._parts)
        self._answers: dict[str, Answer] = {}

    def run(self) -> Gather:
        """Sends, then collects until all have answered or the time is over."""
        self._send()
        self._collect()
        return self._gather()

    def _send(self) -> None:
        """Asks one replica of each member, and those on probation that are due for a probe."""
        self._scatter.count("asks")
        for part in self._parts.values():
            standing = part.replicas.first()
            if standing is None:
                self._miss(part)
                continue
            # From here on, as its replicas' own times are: sending to those before took a while.
            part.hedge_at_s = time.perf_counter() + part.replicas.hedge_after_s()
            self._scatter.send(part, standing, self._inbox, self._deadline)
            if not part.replicas.alone:
                self._probe(part)

    def _collect(self) -> None:
        """Takes in news, and hedges what is late, until all have answered or the time is over."""
        while self._open:
            left_s = self._deadline.left_s()
            hedge_s = min(part.hedge_at_s for part in self._open.values()) - time.perf_counter()
            wait_s = max(0.0, min(left_s, hedge_s))
            for news in self._inbox.take(len(self._open), wait_s):
                self._take(news)
            if left_s <= 0:
                return
            if hedge_s <= 0:
                self._hedge()

    def _gather(self) -> Gather:
        """What came; whoever is still waited for is missing."""
        for part in tuple(self._open.values()):
            now_s = time.perf_counter()
            for sent in part.open:
                seat = sent.standing.seat
                part.why[seat.name] = seat.why() if self._deadline.expired() else "deadline"
                # Nobody was quicker: as far as is known, this is how long it takes at present.
                sent.standing.took(now_s - sent.sent_s)
            self._miss(part)
        return Gather(
            answers={n: self._answers[n] for n in self._parts if n in self._answers},
            missing=tuple(
                Missing(member=name, why=part.reasons())
                for name, part in self._parts.items()
                if name not in self._answers
            ),
            seconds=time.perf_counter() - self._start_s,
        )

    def _probe(self, part: Part) -> None:
        probed = part.replicas.probe(time.perf_counter())
        if probed is not None:
            self._scatter.count("probed")
            self._scatter.send(part, probed, None, self._deadline)

    def _hedge(self) -> None:
        now_s = time.perf_counter()
        for part in self._open.values():
            if part.hedge_at_s <= now_s:
                # The next one, if there is one, after the same time again.
                part.hedge_at_s = now_s + part.replicas.hedge_after_s()
                if not self._ask_another(part):
                    part.hedge_at_s = math.inf
                else:
                    self._scatter.count("hedged")

    def _ask_another(self, part: Part) -> bool:
        standing = part.replicas.another(part.tried)
        if standing is not None:
            self._scatter.send(part, standing, self._inbox, self._deadline)
        return standing is not None

    def _take(self, news: News) -> None:
        part, header = news.sent.part, news.header
        if part.done:
            return
        part.open.remove(news.sent)
        if header is None or header.outcome is not Outcome.OK or header.epoch != news.sent.epoch:
            self._fail(part, news.sent, header)
            return
        part.done = True
        del self._open[part.name]
        if not part.replicas.alone:
            part.replicas.raced(part.tried[0], beaten=news.sent.standing is not part.tried[0])
        total_s = news.at_s - self._start_s
        self._answers[part.name] = Answer(
            member=part.name,
            replica=news.sent.standing.seat.name,
            body=bytes(news.sample.payload),
            wire_s=max(0.0, total_s - header.queue_s - header.handle_s),
            queue_s=header.queue_s,
            handle_s=header.handle_s,
            total_s=total_s,
        )

    def _fail(self, part: Part, sent: Sent, header: ReplyHeader | None) -> None:
        """One replica will not answer: another one is asked at once."""
        seat = sent.standing.seat
        if header is not None:
            why = f"{header.outcome}: {header.why}" if header.why else f"{header.outcome}"
        else:
            gone = seat.state is not MemberState.UP or seat.epoch != sent.epoch
            why = seat.why() if gone else "its link was lost"
        part.why[seat.name] = why
        if not self._deadline.expired() and self._ask_another(part):
            self._scatter.count("replaced")
        elif not part.open:
            self._miss(part)

    def _miss(self, part: Part) -> None:
        part.done = True
        self._open.pop(part.name, None)
        for standing in part.replicas.standings:
            part.why.setdefault(standing.seat.name, standing.seat.why())
