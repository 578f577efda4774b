"""The seats of one gang: what is heard of its members, and how each stands.

Every asker of a fleet has one. `health.judge` decides; whoever keeps the fleet also acts on it
(`keeper`). Everything that changes a seat does so under one lock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sextant.fleet import messages, wire
from sextant.fleet.health import Action, HealthPolicy, MemberState, Process, Verdict, judge
from sextant.fleet.messages import Beat
from sextant.fleet.processes import process_state
from sextant.fleet.seat import Seat
from sextant.fleet.wire import Keys

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
    """What a gang stands on in one process; one for all its gangs."""

    asker: str
    session: Any
    keys: Keys
    node: str
    policy: HealthPolicy
    wake: Callable[[], None]
    """Has every gang ticked soon."""


class Roster:
    """The seats of one gang, by name, and who listens to their changes."""

    def __init__(self, ground: Ground, seats: Sequence[Seat]) -> None:
        self.seats: Mapping[str, Seat] = {seat.name: seat for seat in seats}
        self.epoch = 0
        self.ground = ground
        self.lock = threading.RLock()
        self.moved = threading.Condition(self.lock)
        self._listeners: list[Callable[[Change], None]] = []

    def listen(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Calls `listener` on every change, from threads of the fleet; returns the undoing."""
        with self.lock:
            self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def begin(self, seat: Seat, epoch: int, node: str | None = None) -> None:
        """Another incarnation sits here."""
        key, keys = wire.zenoh().KeyExpr, self.ground.keys
        with self.lock:
            self.epoch = max(self.epoch, epoch)
            ask, control = keys.ask(seat.name, epoch), keys.control(seat.name, epoch)
            seat.begin(epoch, key(ask), key(control), node)
            self.move(seat, MemberState.STARTING)

    def hear(self, beat: Beat, *, keeping: bool = False) -> bool:
        """Takes in a beat; says whether it came from an incarnation that is not wanted any more."""
        seat = self.seats.get(beat.member)
        if seat is None:
            return False
        with self.lock:
            if beat.epoch < seat.epoch:
                return True
            if beat.epoch > seat.epoch:
                self.begin(seat, beat.epoch)
            elif seat.state.final or (keeping and seat.state is MemberState.DOWN):
                return False
            seat.hear(beat)
            if seat.said is MemberState.DOWN:
                self.down(seat, beat.why)
            else:
                if beat.why:
                    seat.reason = beat.why
                self.move(seat, seat.said)
        return False

    def link(self, member: str, epoch: int, *, linked: bool) -> None:
        """Takes in that the liveliness token of an incarnation came or went."""
        seat = self.seats.get(member)
        if seat is None:
            return
        with self.lock:
            if seat.epoch == epoch:
                seat.linked = linked
        if not linked:
            self.ground.wake()

    def judge(self, seat: Seat) -> Verdict:
        """Judges one seat now, and moves it."""
        process = self._process(seat)
        with self.lock:
            verdict = judge(seat.signs(process), self.ground.policy)
            if verdict.state is MemberState.DOWN and seat.state is not MemberState.DOWN:
                self.down(seat, verdict.why)
            else:
                if verdict.state is MemberState.LOST:
                    seat.reason = verdict.why
                self.move(seat, verdict.state)
        if verdict.action is Action.PING:
            self._ping(seat)
        return verdict

    def down(self, seat: Seat, reason: str) -> None:
        """The incarnation is gone."""
        with self.lock:
            seat.fail(reason, self.ground.policy)
            self.move(seat, MemberState.DOWN)

    def forgive(self) -> None:
        """Nobody's silence so far counts: it was this process that was away."""
        with self.lock:
            for seat in self.seats.values():
                seat.forgive()

    def is_local(self, seat: Seat) -> bool:
        """Whether the member is on this node, so that its process can be looked at."""
        return seat.node == self.ground.node

    def control(self, seat: Seat, order: Mapping[str, Any], timeout_s: float, then: Any) -> Any:
        """Gives an order over the wire; `then` is Zenoh's handler for the reply."""
        return self.order(seat.control_key, order, timeout_s, then)

    def order(self, key: Any, order: Mapping[str, Any], timeout_s: float, then: Any) -> Any:
        """Gives an order to whatever incarnation takes orders at a key."""
        return self.ground.session.get(
            key,
            then,
            payload=messages.pack(order),
            timeout=timeout_s,
            congestion_control=wire.zenoh().CongestionControl.DROP,
        )

    def move(self, seat: Seat, state: MemberState) -> None:
        """Moves a seat to a state, and tells who listens; the lock must be held."""
        before = seat.move(state)
        if state is before:
            return
        change = Change(
            at_s=time.monotonic(),
            member=seat.name,
            epoch=seat.epoch,
            before=before,
            after=state,
            why="" if state is MemberState.UP else seat.why(),
        )
        self.moved.notify_all()
        for listener in tuple(self._listeners):
            listener(change)

    def _process(self, seat: Seat) -> Process:
        """Looked at only when a member is quiet or cut off: it costs a system call or two."""
        if seat.linked and seat.quiet_s < self.ground.policy.ping_after_s:
            return Process.UNKNOWN
        if seat.pid is None or not self.is_local(seat):
            return Process.UNKNOWN
        return process_state(seat.pid)

    def _ping(self, seat: Seat) -> None:
        now_s = time.monotonic()
        if now_s - seat.pinged_s < _PING_S or seat.control_key is None:
            return
        seat.pinged_s = now_s
        self.control(seat, {"order": "ping"}, _PING_S, wire.direct(self._ponged))

    def _ponged(self, reply: Any) -> None:
        if reply.ok is None:
            return
        try:
            beat = messages.unpack_beat(messages.unpack(bytes(reply.ok.payload)))
        except (ValueError, TypeError):
            return
        self.hear(beat)
