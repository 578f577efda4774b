"""Doing to a process what a fault says, and looking whether it happened."""

from __future__ import annotations

import signal
import threading
import time
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
_CALL_S = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Landing:
    """Whether a fault did to the process what it should.

    Attributes:
        at_s: when it was sent, on `time.monotonic`.
        landed: whether its effect was seen.
        why: what was seen.
        state: how the member stood when it was hit.
        epoch: the incarnation that was hit.
    """

    at_s: float
    landed: bool
    why: str
    state: MemberState
    epoch: int


def inject(roster: Roster, cluster: Cluster, fault: Fault) -> Landing:
    """Carries out a fault now, whatever its time says; undoes it later if it lasts."""
    seat = roster.seats[fault.member]
    with roster.lock:
        pid, node, state, epoch = seat.pid, seat.node, seat.state, seat.epoch
    at_s = time.monotonic()

    def landing(landed: bool, why: str) -> Landing:
        return Landing(at_s=at_s, landed=landed, why=why, state=state, epoch=epoch)

    if pid is None or node is None:
        return landing(False, f"there was no process to hit: {seat.why()}")
    if fault.kind is FaultKind.SLOW:
        assert fault.delay_s is not None
        obeyed = _slow(roster, seat, fault.delay_s)
        if obeyed and fault.lasts_s is not None:
            _later(fault.lasts_s, lambda: _slow(roster, seat, 0.0))
        return landing(obeyed, "it said so" if obeyed else "it did not answer the order")
    number, aim = _SIGNALS[fault.kind]
    try:
        if not cluster.on_node(node, send_signal, pid, int(number), timeout_s=_CALL_S):
            return landing(False, f"there was no process {pid}")
        seen = cluster.on_node(node, _await_state, pid, aim.value, timeout_s=_CALL_S)
    except EngineError as error:
        return landing(False, str(error))
    if fault.kind is FaultKind.STOP and fault.lasts_s is not None:
        resume = signal.SIGCONT
        _later(
            fault.lasts_s,
            lambda: cluster.on_node(node, send_signal, pid, int(resume), timeout_s=_CALL_S),
        )
    return landing(seen == aim.value, f"process {pid} is {seen}")


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


def _slow(roster: Roster, seat: Seat, delay_s: float) -> bool:
    order = {"order": "slow", "delay_s": delay_s}
    replies = roster.control(seat, order, _LANDED_S, wire.zenoh().handlers.FifoChannel(1))
    return any(reply.ok is not None for reply in replies)


def _later(seconds: float, action: object) -> None:
    timer = threading.Timer(seconds, action)  # type: ignore[arg-type]
    timer.daemon = True
    timer.start()
