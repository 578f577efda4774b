"""Doing to a process what a fault says, and looking whether it happened."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sextant.errors import EngineError
from sextant.fleet import wire
from sextant.fleet.cluster import Cluster
from sextant.fleet.fault import Fault, FaultKind
from sextant.fleet.health import MemberState, Process
from sextant.fleet.processes import process_state, send_signal
from sextant.fleet.roster import Roster
from sextant.fleet.seat import Seat

_LANDED_S = 1.0
"""A fault that has not shown its effect by then did not land."""
_CUT_BEATS = 3.0
"""One that has not been heard for so many beats is cut off."""
_CALL_S = 5.0
_POLL_S = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class Landing:
    """Whether a fault did to the process what it should.

    Attributes:
        at_s: when it was sent, on `time.monotonic`.
        landed: whether its effect was seen.
        why: what was seen.
        state: how the replica stood when it was hit.
        epoch: the incarnation that was hit.
    """

    at_s: float
    landed: bool
    why: str
    state: MemberState
    epoch: int


def inject(roster: Roster, cluster: Cluster, fault: Fault, seats: Sequence[Seat]) -> Landing:
    """Carries out a fault on one replica or several, all at once; it landed if all were hit."""
    shots = [_Shot(roster, cluster, fault, seat) for seat in seats]
    threads = [threading.Thread(target=shot.fire, daemon=True) for shot in shots[1:]]
    for thread in threads:
        thread.start()
    shots[0].fire()
    for thread in threads:
        thread.join(2 * _CALL_S + _LANDED_S)
    landings = [shot.landing() for shot in shots]
    if len(landings) == 1:
        return landings[0]
    said = zip(seats, landings, strict=True)
    return Landing(
        at_s=min(one.at_s for one in landings),
        landed=all(one.landed for one in landings),
        why="; ".join(f"{seat.name}: {one.why}" for seat, one in said),
        state=next((one.state for one in landings if not one.landed), landings[0].state),
        epoch=max(one.epoch for one in landings),
    )


class _Shot:
    """One fault at one replica."""

    def __init__(self, roster: Roster, cluster: Cluster, fault: Fault, seat: Seat) -> None:
        self._roster, self._cluster = roster, cluster
        self._fault, self._seat = fault, seat
        with roster.lock:
            self._pid, self._node = seat.pid, seat.node
            self._state, self._epoch = seat.state, seat.epoch
        self._at_s = time.monotonic()
        self._landed, self._why = False, "it is not known whether it landed"

    def fire(self) -> None:
        """Carries it out now; undoes it later if it lasts."""
        if self._pid is None or self._node is None:
            self._why = f"there was no process to hit: {self._seat.why()}"
        elif self._fault.kind is FaultKind.SLOW:
            self._slow()
        elif self._fault.kind is FaultKind.CUT:
            self._cut()
        else:
            try:
                self._signal(self._node, self._pid)
            except EngineError as error:
                self._why = str(error)

    def landing(self) -> Landing:
        """What came of it."""
        return Landing(
            at_s=self._at_s,
            landed=self._landed,
            why=self._why,
            state=self._state,
            epoch=self._epoch,
        )

    def _slow(self) -> None:
        assert self._fault.delay_s is not None
        self._landed = self._order({"order": "slow", "delay_s": self._fault.delay_s})
        self._why = "it said so" if self._landed else "it did not answer the order"
        if self._landed and self._fault.lasts_s is not None:
            _later(self._fault.lasts_s, lambda: self._order({"order": "slow", "delay_s": 0.0}))

    def _cut(self) -> None:
        """It cuts itself off, and comes back by itself: no order could reach it."""
        if not self._order({"order": "cut", "lasts_s": self._fault.lasts_s}):
            self._why = "it did not answer the order"
            return
        enough_s = _CUT_BEATS * self._roster.ground.policy.beat_s
        until_s, quiet_s = time.monotonic() + _LANDED_S, 0.0
        while quiet_s < enough_s and time.monotonic() < until_s:
            time.sleep(_POLL_S)
            quiet_s = max(quiet_s, self._seat.quiet_s)
        self._landed, self._why = quiet_s >= enough_s, f"it was not heard for {quiet_s:.1f} s"

    def _signal(self, node: str, pid: int) -> None:
        number, aim = _SIGNALS[self._fault.kind]
        run = self._cluster.on_node
        if not run(node, send_signal, pid, int(number), timeout_s=_CALL_S):
            self._why = f"there was no process {pid}"
            return
        seen = run(node, _await_state, pid, aim.value, timeout_s=_CALL_S)
        self._landed, self._why = seen == aim.value, f"process {pid} is {seen}"
        if self._fault.kind is FaultKind.STOP and self._fault.lasts_s is not None:
            resume = int(signal.SIGCONT)
            _later(
                self._fault.lasts_s,
                lambda: run(node, send_signal, pid, resume, timeout_s=_CALL_S),
            )

    def _order(self, order: dict[str, object]) -> bool:
        channel = wire.zenoh().handlers.FifoChannel(1)
        replies = self._roster.control(self._seat, order, _LANDED_S, channel)
        return any(reply.ok is not None for reply in replies)


_SIGNALS = {
    FaultKind.KILL: (signal.SIGKILL, Process.GONE),
    FaultKind.STOP: (signal.SIGSTOP, Process.STOPPED),
}


def _await_state(pid: int, aim: str) -> str:
    """Watches a process of this host until it is as it should be, for a bounded time."""
    until_s = time.monotonic() + _LANDED_S
    while (state := process_state(pid)).value != aim and time.monotonic() < until_s:
        time.sleep(0.002)
    return state.value


def _later(seconds: float, action: Callable[[], object]) -> None:
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()
