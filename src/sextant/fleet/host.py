"""The process around one member: its queue, its worker, its beat, and its end.

Three threads: the main thread works (`run`), a thread of the wire takes requests in, and a thread
of its own beats, so that a long request never looks like a death. Run as a program it reads its
orders from standard input.
"""

from __future__ import annotations

import faulthandler
import os
import queue
import sys
import threading
import time
from functools import partial
from typing import Any

from sextant.errors import SextantError
from sextant.fleet import messages, wire
from sextant.fleet.card import Card
from sextant.fleet.cut import Cut
from sextant.fleet.deadline import Deadline
from sextant.fleet.health import MemberState
from sextant.fleet.ledger import Ledger
from sextant.fleet.lines import Lines
from sextant.fleet.linger import Unlingering
from sextant.fleet.member import Member, build
from sextant.fleet.messages import Beat, Outcome, Pulse
from sextant.fleet.orders import Orders
from sextant.fleet.wire import Keys

_HEARD_S = 2.0
"""How long a member that cannot serve says so before it ends."""

_UNLINGERED_EVERY_S = 0.5
_ACKNOWLEDGED_S = 0.02
"""The word that an order to be cut was heard must be out before it is carried out."""


_Request = tuple[float, Any, Any]
"""When a request came, where its answer goes, and itself. Whatever is to be read of it is read by
the thread that works: the wire's one has others' links to see to."""


class Host:
    """Hosts one member, which is asked over the wire."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._card = Card.of(orders.card)
        self._keys = Keys(self._card.fleet)
        self._said, self._why = MemberState.WARMING, ""
        self._handled = 0
        self._delay_s = 0.0
        self._cut_s: float | None = None
        self._ledger = Ledger()
        self._left = threading.Event()
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._zenoh = wire.zenoh()
        key, name, epoch = self._zenoh.KeyExpr, orders.name, orders.epoch
        self._beat_key = key(self._keys.beat(name))
        self._ask_key = key(self._keys.ask(name, epoch))
        self._control_key = key(self._keys.control(name, epoch))
        self._answer_key = key(self._keys.answer(name.partition("/")[0]))
        self._lines = Lines(self._keys, self._furnish, self._hear)
        self._lines.tell(self._card.endpoints)
        self._lines.follow()
        threading.Thread(target=self._beat, name="beat", daemon=True).start()

    def run(self) -> int:
        """Warms the member, then answers until told to leave; returns the process's exit code."""
        try:
            member = self._warm()
        except SextantError as error:
            return self._give_up(MemberState.REFUSED, str(error))
        except Exception as error:  # noqa: BLE001  whatever a member's warm raises is its crash
            return self._give_up(MemberState.DOWN, f"warming: {type(error).__name__}: {error}")
        self._said = MemberState.UP
        self._say()
        while (request := self._requests.get()) is not None and not self._left.is_set():
            self._answer(member, request)
        member.close()
        self._lines.close()
        return 0

    def _warm(self) -> Member:
        member = build(self._orders.factory, self._orders.arguments)
        member.ledger = self._ledger
        member.card = self._card
        member.warm()
        return member

    def _give_up(self, said: MemberState, why: str) -> int:
        self._why, self._said = why, said
        self._say()
        # The beat goes on saying so until somebody has heard it, and orders the end.
        self._left.wait(_HEARD_S)
        return 2

    def _answer(self, member: Member, request: _Request) -> None:
        start_s = time.perf_counter()
        arrived_s, answers, sample = request
        try:
            epoch, number, deadline_s = messages.unpack_request(bytes(sample.attachment))
        except (ValueError, TypeError):
            return
        deadline = Deadline(deadline_s)
        body, outcome, why = b"", Outcome.OK, ""
        if epoch != self._orders.epoch:
            outcome = Outcome.OLD_EPOCH
        elif deadline.expired():
            outcome, why = Outcome.EXPIRED, "its deadline passed in the queue"
        else:
            if self._delay_s:
                self._left.wait(self._delay_s)
            try:
                body = member.handle(bytes(sample.payload), deadline)
            except SextantError as error:
                outcome, why = Outcome.FAILED, str(error)
            except Exception as error:  # noqa: BLE001  one bad request must not end the member
                outcome, why = Outcome.FAILED, f"{type(error).__name__}: {error}"
        self._handled += 1
        queue_s, handle_s = start_s - arrived_s, time.perf_counter() - start_s
        header = messages.pack_reply(epoch, number, outcome, queue_s, handle_s, why[:2000])
        try:
            answers.put(body, attachment=header)
        except self._zenoh.ZError:
            # The asker's link is gone, and with it whoever wanted the answer.
            return

    def _furnish(self, session: Any) -> list[Any]:
        """Offers the member to one asker; its token comes last, when all the rest is there."""
        # An answer was paid for: it waits for its link rather than being dropped.
        block = self._zenoh.CongestionControl.BLOCK
        answers = session.declare_publisher(self._answer_key, congestion_control=block)
        take = wire.direct(partial(self._take, session, answers))
        token = self._keys.alive(self._orders.name, self._orders.epoch)
        return [
            answers,
            session.declare_subscriber(self._ask_key, take),
            session.declare_queryable(self._control_key, wire.direct(self._obey)),
            session.liveliness().declare_token(token),
        ]

    def _take(self, session: Any, answers: Any, sample: Any) -> None:
        """Takes a request into the queue, or says at once why not; on the wire's thread."""
        if self._said is not MemberState.UP:
            self._refuse(session, sample, Outcome.NOT_UP, self._said.value)
        elif self._requests.qsize() >= self._orders.queue_limit:
            why = f"{self._orders.queue_limit} waiting"
            self._refuse(session, sample, Outcome.FULL, why)
        else:
            self._requests.put((time.perf_counter(), answers, sample))

    def _refuse(self, session: Any, sample: Any, outcome: Outcome, why: str) -> None:
        try:
            header = messages.unpack_request(bytes(sample.attachment))
        except (ValueError, TypeError):
            return
        reply = messages.pack_reply(header.epoch, header.request, outcome, why=why)
        # The wire's thread must not wait.
        drop = self._zenoh.CongestionControl.DROP
        session.put(self._answer_key, b"", attachment=reply, congestion_control=drop)

    def _obey(self, query: Any) -> None:
        """Carries out one order; every order may come twice."""
        try:
            order = messages.unpack(bytes(query.payload))
            match order["order"]:
                case "ping":
                    answer: Any = self._now()
                case "ledger":
                    answer = self._ledger.snapshot()
                case "slow":
                    self._delay_s = answer = float(order["delay_s"])
                case "cut":
                    self._cut_s = answer = float(order["lasts_s"])
                case "leave":
                    answer = True
                    self._left.set()
                    self._requests.put(None)
                case _:
                    return
        except (ValueError, TypeError, KeyError):
            return
        query.reply(query.key_expr, messages.pack(answer))

    def _hear(self, pulse: Pulse) -> None:
        """A pulse; `Lines` has noted all that matters of it."""

    def _now(self) -> bytes:
        orders = self._orders
        beat = Beat(
            orders.name,
            orders.epoch,
            os.getpid(),
            self._card.node,
            self._said.value,
            self._handled,
            self._why[:2000],
        )
        return messages.pack_beat(beat)

    def _say(self) -> None:
        now = self._now()
        for session in self._lines.sessions:
            try:
                session.put(
                    self._beat_key,
                    now,
                    congestion_control=self._zenoh.CongestionControl.DROP,
                )
            except self._zenoh.ZError:
                continue

    def _beat(self) -> None:
        unlingering = Unlingering(_UNLINGERED_EVERY_S)
        while True:
            unlingering.look(time.monotonic())
            if self._cut_s is not None:
                self._be_cut(self._cut_s)
            self._lines.follow()
            self._say()
            if time.monotonic() - self._lines.pulse_s > self._orders.orphaned_after_s:
                # Nobody is left to answer to; a clean exit could hang on what is gone.
                os._exit(3)
            time.sleep(self._orders.beat_s)

    def _be_cut(self, lasts_s: float) -> None:
        """Off the wire for a time, then back by new links; on the thread that beats."""
        until_s = time.monotonic() + lasts_s
        time.sleep(_ACKNOWLEDGED_S)
        cut = Cut(self._lines.endpoints)
        self._lines.close()
        self._left.wait(max(0.0, until_s - time.monotonic()))
        cut.close()
        self._cut_s = None
        self._lines.pulse_s = time.monotonic()


def main() -> None:
    """Reads orders from standard input and hosts the member; `--detach` leaves the parent."""
    faulthandler.enable()
    raw = sys.stdin.buffer.read()
    if "--detach" in sys.argv and os.fork():
        # Before any thread is there. The grandchild belongs to nobody, so nobody's end is its own.
        os._exit(0)
    orders = Orders.unpack(raw)
    sys.path.extend(entry for entry in orders.path if entry not in sys.path)
    code = Host(orders).run()
    sys.stdout.flush()
    sys.stderr.flush()
    # What a member leaves running (an engine's threads) must not hold its process up.
    os._exit(code)


if __name__ == "__main__":
    main()
