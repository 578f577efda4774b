"""The lives of a gang's members: starts, beats, deaths and returns.

`health.judge` decides; this acts, and tells whoever listens. Everything that changes a seat does
so here, under one lock. Ray is called by the watching thread alone and never under that lock: a
call of Ray may take long, and from one of Ray's own threads it would never return.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sextant.fleet import wire
from sextant.fleet.cluster import Cluster
from sextant.fleet.health import Action, HealthPolicy, MemberState, Process, judge
from sextant.fleet.host import Orders
from sextant.fleet.member import MemberSpec
from sextant.fleet.processes import process_state, send_signal
from sextant.fleet.seat import Seat
from sextant.fleet.wire import Beat, Keys

_PING_S = 0.3


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A member came from one state to another; `at_s` is on `time.monotonic`."""

    at_s: float
    member: str
    epoch: int
    before: MemberState
    after: MemberState
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Ground:
    """What a gang stands on; one for the whole fleet."""

    cluster: Cluster
    session: Any
    keys: Keys
    endpoint: str
    env: Mapping[str, str]
    policy: HealthPolicy
    queue_limit: int
    orphaned_after_s: float
    wake: Callable[[], None]
    """Has every gang ticked soon."""


class Roster:
    """The seats of one gang, and what happens to those who sit there."""

    def __init__(self, ground: Ground, members: Sequence[MemberSpec]) -> None:
        self.seats = {spec.name: Seat(spec) for spec in members}
        self.epoch = 0
        self.lock = threading.RLock()
        self.moved = threading.Condition(self.lock)
        self.closed = False
        self._acting = threading.Lock()
        self._ground = ground
        self._listeners: list[Callable[[Change], None]] = []
        self._ends: queue.SimpleQueue[tuple[Seat, int, dict[str, str]]] = queue.SimpleQueue()

    def start(self) -> None:
        """Starts all members without waiting for any, all in the first epoch."""
        self.epoch = 1
        for seat in self.seats.values():
            self._begin(seat)

    def listen(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Calls `listener` on every change, from threads of the fleet; returns the undoing."""
        with self.lock:
            self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def hear(self, beat: Beat) -> None:
        """Takes in a beat; one of another epoch is refused."""
        seat = self.seats.get(beat.member)
        if seat is None:
            return
        with self.lock:
            if beat.epoch != seat.epoch or seat.state is MemberState.DOWN or seat.state.final:
                return
            seat.hear(beat)
            self._move(seat, seat.said)

    def tick(self) -> None:
        """Takes in the ends of processes, judges every member once, and acts."""
        with self._acting:
            if not self.closed:
                self._tick()

    def _tick(self) -> None:
        self._take_ends()
        for seat in self.seats.values():
            process = self._process(seat)
            with self.lock:
                verdict = judge(seat.signs(process), self._ground.policy)
                if verdict.state is MemberState.LOST:
                    seat.reason = verdict.why
                self._move(seat, verdict.state)
            match verdict.action:
                case Action.PING:
                    self._ping(seat)
                case Action.KILL:
                    self._kill(seat)
                    self._down(seat, verdict.why)
                case Action.START:
                    self.epoch += 1
                    self._begin(seat)

    def is_local(self, seat: Seat) -> bool:
        """Whether the member is on this host."""
        return seat.node == self._ground.cluster.node

    def control(self, seat: Seat, order: Mapping[str, Any], timeout_s: float, then: Any) -> Any:
        """Gives an order over the wire; `then` is Zenoh's handler for the reply."""
        zenoh = wire.zenoh()
        return self._ground.session.get(
            seat.control_key,
            then,
            payload=wire.pack(order),
            timeout=timeout_s,
            congestion_control=zenoh.CongestionControl.DROP,
            express=True,
        )

    def close(self, patience_s: float) -> None:
        """Tells all to leave, then ends whoever has not in time; a second call does nothing."""
        with self._acting:
            if not self.closed:
                self.closed = True
                self._close(patience_s)

    def _close(self, patience_s: float) -> None:
        present = [seat for seat in self.seats.values() if seat.actor is not None]
        handler = wire.zenoh().handlers.FifoChannel
        for seat in present:
            self.control(seat, {"order": "leave"}, patience_s, handler(1))
        until_s = time.monotonic() + patience_s
        while any(seat.actor is not None for seat in present) and time.monotonic() < until_s:
            self._take_ends(timeout_s=until_s - time.monotonic())
        for seat in present:
            if seat.actor is not None:
                self._kill(seat)
                self._down(seat, "ended")

    def _begin(self, seat: Seat) -> None:
        ground, spec, epoch = self._ground, seat.spec, self.epoch
        key = wire.zenoh().KeyExpr
        with self.lock:
            seat.begin(epoch)
            seat.ask_key = key(ground.keys.ask(spec.name, epoch))
            seat.control_key = key(ground.keys.control(spec.name, epoch))
            self._move(seat, MemberState.STARTING)
        orders = Orders(
            fleet=ground.keys.fleet,
            endpoint=ground.endpoint,
            name=spec.name,
            epoch=epoch,
            factory=spec.factory,
            arguments=dict(spec.arguments),
            env={**ground.env, **spec.env},
            path=tuple(sys.path),
            beat_s=ground.policy.beat_s,
            queue_limit=ground.queue_limit,
            orphaned_after_s=ground.orphaned_after_s,
        )

        def ended(how: dict[str, str]) -> None:
            self._ends.put((seat, epoch, how))
            ground.wake()

        seat.actor = ground.cluster.start(spec, orders, ended)

    def _take_ends(self, timeout_s: float = 0.0) -> None:
        """Takes in what Ray said of hosts whose work is over; waits for the first if asked to."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._end(*self._ends.get(timeout_s > 0, timeout_s))
                timeout_s = 0.0

    def _end(self, seat: Seat, epoch: int, how: Mapping[str, str]) -> None:
        if epoch != seat.epoch or seat.actor is None:
            return
        # Its work is over, but unless it died its process is there still.
        self._kill(seat)
        if how["end"] == "refused":
            with self.lock:
                seat.reason = how["why"]
                self._move(seat, MemberState.REFUSED)
        else:
            self._down(seat, how["why"] or how["end"])

    def _kill(self, seat: Seat) -> None:
        """Ends the process of a member: Ray's way, and the system's for one that is stopped."""
        if seat.actor is None:
            return
        self._ground.cluster.kill(seat.actor)
        seat.actor = None
        if seat.pid is not None and self.is_local(seat):
            send_signal(seat.pid, signal.SIGKILL)

    def _down(self, seat: Seat, reason: str) -> None:
        with self.lock:
            seat.fail(reason, self._ground.policy)
            self._move(seat, MemberState.DOWN)

    def _move(self, seat: Seat, state: MemberState) -> None:
        before = seat.move(state)
        if state is before:
            return
        change = Change(
            at_s=time.monotonic(),
            member=seat.spec.name,
            epoch=seat.epoch,
            before=before,
            after=state,
            why="" if state is MemberState.UP else seat.why(),
        )
        self.moved.notify_all()
        for listener in tuple(self._listeners):
            listener(change)

    def _process(self, seat: Seat) -> Process:
        """Looked at only when a member is quiet: it costs a system call or two."""
        if seat.quiet_s < self._ground.policy.ping_after_s:
            return Process.UNKNOWN
        if seat.pid is None or not self.is_local(seat):
            return Process.UNKNOWN
        return process_state(seat.pid)

    def _ping(self, seat: Seat) -> None:
        now_s = time.monotonic()
        if now_s - seat.pinged_s < _PING_S:
            return
        seat.pinged_s = now_s
        handler = wire.zenoh().handlers.Callback(self._ponged, indirect=False)
        self.control(seat, {"order": "ping"}, _PING_S, handler)

    def _ponged(self, reply: Any) -> None:
        if reply.ok is None:
            return
        try:
            beat = wire.unpack_beat(wire.unpack(bytes(reply.ok.payload)))
        except (ValueError, TypeError):
            return
        self.hear(beat)
