"""The process around one member: its queue, its worker, its beat, and its end.

Three threads: Ray's main thread works (`serve`), a thread of the wire takes requests in, and a
thread of its own beats, so that a long request never looks like a death.
"""

from __future__ import annotations

import ctypes
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sextant.errors import SextantError
from sextant.fleet import wire
from sextant.fleet.deadline import Deadline
from sextant.fleet.health import MemberState
from sextant.fleet.ledger import Ledger
from sextant.fleet.member import Member, build
from sextant.fleet.wire import Beat, Keys, Outcome, ReplyHeader, RequestHeader

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, kw_only=True)
class Orders:
    """All that a host is told when it starts."""

    fleet: str
    endpoint: str
    name: str
    epoch: int
    factory: str
    arguments: Mapping[str, Any]
    env: Mapping[str, str]
    path: Sequence[str]
    """Where the driver imports from; the member's factory is looked for there too."""
    beat_s: float
    queue_limit: int
    orphaned_after_s: float


class Host:
    """Hosts one member; started by Ray, asked over the wire."""

    def __init__(self, orders: Orders) -> None:
        _die_with_parent()
        # Before the factory is imported: BLAS and OpenMP read their environment only once.
        os.environ.update(orders.env)
        sys.path.extend(entry for entry in orders.path if entry not in sys.path)
        self._orders = orders
        self._node = _node()
        self._said = MemberState.WARMING
        self._handled = 0
        self._delay_s = 0.0
        self._ledger = Ledger()
        self._left = threading.Event()
        self._requests: queue.SimpleQueue[tuple[Any, RequestHeader, float]] = queue.SimpleQueue()
        self._pulse_s = time.monotonic()
        self._open_wire()
        threading.Thread(target=self._beat, name="beat", daemon=True).start()

    def serve(self) -> dict[str, str]:
        """Warms the member, then answers until told to leave; says how it ended.

        Returns:
            `{"end": "left"}`, or `refused` or `failed` with `why`.
        """
        try:
            member = self._warm()
        except SextantError as error:
            return {"end": "refused", "why": str(error)}
        except Exception as error:  # noqa: BLE001  whatever a member's warm raises is its crash
            return {"end": "failed", "why": f"warming: {type(error).__name__}: {error}"}
        self._said = MemberState.UP
        self._say()
        while not self._left.is_set():
            try:
                query, header, arrived_s = self._requests.get(timeout=0.2)
            except queue.Empty:
                continue
            self._answer(member, query, header, arrived_s)
            del query  # a query counts as open until its last reference is gone
        return {"end": "left", "why": ""}

    def _warm(self) -> Member:
        member = build(self._orders.factory, self._orders.arguments)
        member.ledger = self._ledger
        member.warm()
        return member

    def _answer(self, member: Member, query: Any, header: RequestHeader, arrived_s: float) -> None:
        deadline = Deadline(header.deadline_s)
        start_s = time.perf_counter()
        queue_s = start_s - arrived_s
        body, outcome, why = b"", Outcome.OK, ""
        if deadline.expired():
            outcome, why = Outcome.EXPIRED, "its deadline passed in the queue"
        else:
            if self._delay_s:
                self._left.wait(self._delay_s)
            try:
                body = member.handle(bytes(query.payload), deadline)
            except SextantError as error:
                outcome, why = Outcome.FAILED, str(error)
            except Exception as error:  # noqa: BLE001  one bad request must not end the member
                outcome, why = Outcome.FAILED, f"{type(error).__name__}: {error}"
        self._handled += 1
        handle_s = time.perf_counter() - start_s
        self._reply(query, header, outcome, why, body=body, queue_s=queue_s, handle_s=handle_s)

    def _reply(
        self,
        query: Any,
        header: RequestHeader,
        outcome: Outcome,
        why: str = "",
        *,
        body: bytes = b"",
        queue_s: float = 0.0,
        handle_s: float = 0.0,
    ) -> None:
        reply = ReplyHeader(
            self._orders.epoch, header.request, outcome, queue_s, handle_s, why[:2000]
        )
        try:
            query.reply(
                query.key_expr,
                body,
                attachment=wire.pack_reply(reply),
                # An answer was paid for: it waits for its link rather than being dropped.
                congestion_control=self._zenoh.CongestionControl.BLOCK,
                express=True,
            )
        except self._zenoh.ZError:
            # The asker's link is gone, and with it whoever wanted the answer.
            return

    def _open_wire(self) -> None:
        self._zenoh = zenoh = wire.zenoh()
        orders, keys = self._orders, Keys(self._orders.fleet)
        self._session = wire.connect(orders.endpoint)
        self._beat_key = zenoh.KeyExpr(keys.beat(orders.name))
        ask, control = (
            keys.ask(orders.name, orders.epoch),
            keys.control(orders.name, orders.epoch),
        )
        # Called on the wire's own thread: neither may take long.
        self._entities = [
            self._session.declare_queryable(
                ask, zenoh.handlers.Callback(self._take, indirect=False)
            ),
            self._session.declare_queryable(
                control, zenoh.handlers.Callback(self._obey, indirect=False)
            ),
            self._session.declare_subscriber(
                keys.pulse, zenoh.handlers.Callback(self._hear_pulse, indirect=False)
            ),
        ]

    def _take(self, query: Any) -> None:
        """Takes a request into the queue, or says at once why not."""
        arrived_s = time.perf_counter()
        try:
            header = wire.unpack_request(bytes(query.attachment))
        except (ValueError, TypeError):
            return
        if header.epoch != self._orders.epoch:
            self._reply(query, header, Outcome.OLD_EPOCH)
        elif self._said is not MemberState.UP:
            self._reply(query, header, Outcome.NOT_UP, self._said.value)
        elif Deadline(header.deadline_s).expired():
            self._reply(query, header, Outcome.EXPIRED, "its deadline passed on the wire")
        elif self._requests.qsize() >= self._orders.queue_limit:
            self._reply(query, header, Outcome.FULL, f"{self._orders.queue_limit} waiting")
        else:
            self._requests.put((query, header, arrived_s))

    def _obey(self, query: Any) -> None:
        """Carries out one order; every order may come twice."""
        try:
            order = wire.unpack(bytes(query.payload))
            match order["order"]:
                case "ping":
                    answer: Any = self._now()
                case "ledger":
                    answer = self._ledger.snapshot()
                case "slow":
                    self._delay_s = answer = float(order["delay_s"])
                case "leave":
                    answer = True
                    self._left.set()
                case _:
                    return
        except (ValueError, TypeError, KeyError):
            return
        query.reply(query.key_expr, wire.pack(answer), express=True)

    def _hear_pulse(self, _sample: Any) -> None:
        self._pulse_s = time.monotonic()

    def _now(self) -> bytes:
        orders = self._orders
        beat = Beat(
            orders.name, orders.epoch, os.getpid(), self._node, self._said.value, self._handled
        )
        return wire.pack_beat(beat)

    def _say(self) -> None:
        zenoh = self._zenoh
        try:
            self._session.put(
                self._beat_key,
                self._now(),
                congestion_control=zenoh.CongestionControl.DROP,
                express=True,
            )
        except zenoh.ZError:
            return

    def _beat(self) -> None:
        while True:
            self._say()
            if time.monotonic() - self._pulse_s > self._orders.orphaned_after_s:
                # Nobody is left to answer to; a clean exit could hang on what is gone.
                os._exit(3)
            time.sleep(self._orders.beat_s)


def _node() -> str:
    """The node that Ray placed this process on."""
    import ray

    node: str = ray.get_runtime_context().get_node_id()
    return node


def _die_with_parent() -> None:
    """Ties this process to its parent (Ray's), even while it is stopped by a signal."""
    if sys.platform.startswith("linux"):
        parent = os.getppid()
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(3)
