"""Keeps one gang: starts its processes, ends them, and starts again those that died.

`health.judge` says what is due; this does it. One process keeps a fleet at a time (`election`).
Whoever it is may have started none of the members: they are nobody's children.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from sextant.errors import SextantError
from sextant.fleet import wire
from sextant.fleet.card import Card
from sextant.fleet.cluster import Cluster
from sextant.fleet.health import Action, MemberState, Process
from sextant.fleet.orders import Orders
from sextant.fleet.placement import Node, place
from sextant.fleet.processes import process_state
from sextant.fleet.roster import Roster
from sextant.fleet.seat import Seat

_ADOPTED_WITHIN_S = 2.0
"""A member that the keeper before has just started may need so long to be heard."""
_JUST_S = 0.3
_POLL_S = 0.02
_GONE = (MemberState.DOWN, MemberState.REFUSED, MemberState.LOST)


@dataclass(frozen=True, kw_only=True, slots=True)
class Post:
    """What a keeper works with: the machines, and what every member is told."""

    cluster: Cluster
    card: Callable[[], Card]
    path: tuple[str, ...]
    env: Mapping[str, str]
    beat_s: float
    queue_limit: int
    orphaned_after_s: float
    next_epoch: Callable[[], int]
    """Higher than any that this process has heard of, in whatever gang."""


class Keeper:
    """Keeps one gang; its methods are called by one thread at a time."""

    def __init__(self, roster: Roster, post: Post, pins: Mapping[str, str]) -> None:
        self._roster = roster
        self._post = post
        self._pins = pins

    def start(self) -> None:
        """Starts all members without waiting for any, all in one epoch."""
        epoch = self._post.next_epoch()
        for seat in self._roster.seats.values():
            self._begin(seat, epoch)

    def adopt(self) -> None:
        """Takes over members that another one started.

        One that was down before may have been started by the keeper before: it is given time to be
        heard. One that goes now, as that keeper itself did, is started at once.
        """
        now_s = time.monotonic()
        with self._roster.lock:
            for seat in self._roster.seats.values():
                if seat.state is MemberState.DOWN and now_s - seat.since_s > _JUST_S:
                    seat.not_before_s = now_s + _ADOPTED_WITHIN_S

    def tick(self) -> None:
        """Judges every member once, and acts."""
        for seat in self._roster.seats.values():
            verdict = self._roster.judge(seat)
            if verdict.action is Action.KILL:
                self._kill(seat)
                self._roster.down(seat, verdict.why)
            elif verdict.action is Action.START and time.monotonic() >= seat.not_before_s:
                self.dismiss(seat.name, seat.epoch)
                self._begin(seat, self._post.next_epoch())

    def end(self, name: str, epoch: int, why: str) -> None:
        """Takes in that a process has ended."""
        seat = self._roster.seats.get(name)
        if seat is not None and seat.epoch == epoch and seat.state not in _GONE:
            self._roster.down(seat, why)

    def dismiss(self, name: str, epoch: int) -> None:
        """Tells an incarnation that is not wanted any more to leave, if it can hear."""
        if epoch:
            key = self._roster.ground.keys.control(name, epoch)
            self._order_to_leave(wire.zenoh().KeyExpr(key))

    def dismiss_all(self) -> None:
        """Tells all to leave; whoever has not spoken yet cannot hear, and is ended."""
        for seat in self._roster.seats.values():
            if seat.state in _GONE:
                continue
            if seat.pid is None:
                self._kill(seat)
                self._roster.down(seat, "ended")
            else:
                self._order_to_leave(seat.control_key)

    def close(self, patience_s: float, myself: int) -> None:
        """Tells all to leave, then ends whoever has not in time; but for the process `myself`."""
        self.dismiss_all()
        present = [
            seat
            for seat in self._roster.seats.values()
            if seat.state not in _GONE and seat.pid != myself
        ]
        until_s = time.monotonic() + patience_s
        while present and time.monotonic() < until_s:
            time.sleep(_POLL_S)
            present = [seat for seat in present if not self._has_left(seat)]
        for seat in present:
            self._kill(seat)
            self._roster.down(seat, "ended")

    def _has_left(self, seat: Seat) -> bool:
        if seat.pid is not None and self._roster.is_local(seat):
            if process_state(seat.pid) is not Process.GONE:
                return False
        elif seat.linked:
            return False
        self._roster.down(seat, "left")
        return True

    def _order_to_leave(self, key: Any) -> None:
        channel = wire.zenoh().handlers.FifoChannel
        self._roster.order(key, {"order": "leave"}, 1.0, channel(1))

    def _begin(self, seat: Seat, epoch: int) -> None:
        node = self._place(seat)
        self._roster.begin(seat, epoch, node.name)
        post, spec = self._post, seat.spec
        orders = Orders(
            name=spec.name,
            epoch=epoch,
            factory=spec.factory,
            arguments=dict(spec.arguments),
            path=post.path,
            card=asdict(replace(post.card(), node=node.name, host=node.host)),
            beat_s=post.beat_s,
            queue_limit=post.queue_limit,
            orphaned_after_s=post.orphaned_after_s,
        )
        try:
            post.cluster.start(node, orders, {**post.env, **spec.env})
        except (OSError, SextantError) as error:
            self._roster.down(seat, f"it could not be started: {error}")

    def _place(self, seat: Seat) -> Node:
        nodes = self._post.cluster.nodes()
        if pinned := [node for node in nodes if node.name == self._pins.get(seat.name)]:
            return pinned[0]
        seats = [other for other in self._roster.seats.values() if other.node is not None]
        here = [other for other in seats if other is not seat and other.state not in _GONE]
        up = {other.node for other in here if other.state is MemberState.UP}
        silent = {other.node for other in seats if other.state is MemberState.SILENT}
        if seat.failures and seat.node is not None:
            # Whatever ended it there may end the next one too, where nobody else is well.
            silent.add(seat.node)
        taken = [(other.node, other.member) for other in here if other.node is not None]
        doubtful = {node for node in silent - up if node is not None}
        return place(seat.member, nodes, taken, doubtful)

    def _kill(self, seat: Seat) -> None:
        self._post.cluster.kill(seat.name, seat.epoch, seat.node, seat.pid)
