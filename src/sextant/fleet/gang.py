"""The members of one role in a fleet, asked together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sextant.axes import Axis
from sextant.errors import InputError
from sextant.fleet import inject, wire
from sextant.fleet.answers import BarrierError, Gather, Missing
from sextant.fleet.deadline import Deadline
from sextant.fleet.fault import Fault
from sextant.fleet.health import MemberState
from sextant.fleet.inject import Landing
from sextant.fleet.ledger import Ledger
from sextant.fleet.member import MemberSpec
from sextant.fleet.roster import Change, Ground, Roster
from sextant.fleet.scatter import Scatter
from sextant.fleet.seat import Seat
from sextant.fleet.wire import Beat


class Gang:
    """The members of one role. Made by `Fleet.gang`; every wait is bounded.

    A member that dies is started again by itself, under a new epoch; one that was stopped is used
    again as soon as it speaks; one that refuses stays out, with its reason.

    Attributes:
        role: what its members are for.
        ledger: what asking cost the caller; waiting and merging are coordination.
    """

    def __init__(self, ground: Ground, role: str, members: Sequence[MemberSpec]) -> None:
        names = [spec.name for spec in members]
        if not names or len(set(names)) != len(names):
            raise InputError(f"gang {role} needs members with names of their own: {names}")
        if strangers := [spec.name for spec in members if spec.role != role]:
            raise InputError(f"not of gang {role}: {', '.join(strangers)}")
        self.role = role
        self.ledger = Ledger()
        self._cluster = ground.cluster
        self._roster = Roster(ground, members)
        self._scatter = Scatter(ground.session, self._roster.seats)
        self._observers: list[Callable[[float, Gather], None]] = []
        self._roster.listen(self._tell)
        self._roster.start()

    @property
    def names(self) -> tuple[str, ...]:
        """The members, in the order in which they were given."""
        return tuple(self._roster.seats)

    @property
    def epoch(self) -> int:
        """Counts the changes of membership."""
        return self._roster.epoch

    @property
    def closed(self) -> bool:
        """Whether its members were told to leave."""
        return self._roster.closed

    def ready(self, timeout_s: float, progress: Callable[[int, int], None] | None = None) -> None:
        """Waits until all members serve.

        Args:
            timeout_s: waits no longer than this.
            progress: called with how many serve and how many there are, when that changes.

        Raises:
            BarrierError: somebody is missing: at the timeout, or as soon as all who are missing
                have refused or were given up. It names each, for how long and why.
        """
        start_s = time.monotonic()
        shown = -1
        while True:
            missing, hopeless, waited_s = *self._absent(), time.monotonic() - start_s
            present = len(self.names) - len(missing)
            if progress is not None and present != shown:
                progress(present, len(self.names))
            shown = present
            if not missing:
                return
            if hopeless or waited_s >= timeout_s:
                names = ", ".join(str(absent) for absent in missing)
                what = f"{len(missing)} of {len(self.names)} {self.role}s are missing"
                raise BarrierError(f"{what} after {waited_s:.1f} s: {names}", missing)
            with self._roster.lock:
                if len(self._absent()[0]) == len(missing):
                    self._roster.moved.wait(min(0.5, timeout_s - waited_s))

    def ask(self, body: bytes | Mapping[str, bytes], deadline: Deadline) -> Gather:
        """Asks all members the same, or those named each its own; returns by the deadline.

        It returns sooner once everybody who is known to be up has answered.

        Raises:
            InputError: somebody named is not in the gang.
        """
        bodies = dict.fromkeys(self.names, body) if isinstance(body, bytes) else body
        for name in bodies:
            self._seat(name)
        begun_s = time.monotonic()
        with self.ledger.waiting(Axis.COORDINATION):
            gather = self._scatter.ask(bodies, deadline)
        moved = sum(len(bodies[name]) + len(got.body) for name, got in gather.answers.items())
        self.ledger.charge(Axis.COORDINATION, bytes=moved)
        for observer in tuple(self._observers):
            observer(begun_s, gather)
        return gather

    def ledgers(self, timeout_s: float) -> dict[str, dict[str, Any]]:
        """The ledger of each member that answers in time, as a snapshot."""
        channel = wire.zenoh().handlers.FifoChannel
        asked = {
            name: self._roster.control(seat, {"order": "ledger"}, timeout_s, channel(1))
            for name, seat in self._roster.seats.items()
            if seat.state is MemberState.UP
        }
        found = {}
        for name, replies in asked.items():
            for reply in replies:
                if reply.ok is not None:
                    found[name] = wire.unpack(bytes(reply.ok.payload))
        return found

    def states(self) -> dict[str, MemberState]:
        """How each member stands."""
        return {name: seat.state for name, seat in self._roster.seats.items()}

    def missing(self) -> tuple[Missing, ...]:
        """Who does not serve now, and why."""
        return self._absent()[0]

    def pid(self, member: str) -> int | None:
        """The process of a member, once it spoke."""
        return self._seat(member).pid

    def handled(self, member: str) -> int:
        """How many requests its present incarnation dealt with, by its last word."""
        return self._seat(member).handled

    def inject(self, fault: Fault) -> Landing:
        """Carries out a fault now, whatever its time says.

        Raises:
            InputError: the member is not in the gang.
        """
        self._seat(fault.member)
        return inject.inject(self._roster, self._cluster, fault)

    def on_change(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Calls back when a member's state changes, from a thread of the fleet.

        Returns:
            what to call to hear no more.
        """
        return self._roster.listen(listener)

    def on_gather(self, observer: Callable[[float, Gather], None]) -> Callable[[], None]:
        """Calls back after each ask, on its thread, with its start (`time.monotonic`) and result.

        Returns:
            what to call to hear no more.
        """
        self._observers.append(observer)
        return lambda: self._observers.remove(observer)

    def close(self, patience_s: float = 2.0) -> None:
        """Tells all members to leave, and ends those who have not in time."""
        self._roster.close(patience_s)

    def hear(self, beat: Beat) -> None:
        """Takes in a beat of one of its members; the fleet calls this."""
        self._roster.hear(beat)

    def tick(self) -> None:
        """Judges every member once, and acts; the fleet calls this."""
        self._roster.tick()

    def _tell(self, change: Change) -> None:
        if change.before is MemberState.UP:
            self._scatter.tell(change.member)

    def _absent(self) -> tuple[tuple[Missing, ...], bool]:
        """Who does not serve, and whether nobody of them will."""
        with self._roster.lock:
            seats = [s for s in self._roster.seats.values() if s.state is not MemberState.UP]
            return tuple(s.missing() for s in seats), all(s.state.final for s in seats)

    def _seat(self, name: str) -> Seat:
        try:
            return self._roster.seats[name]
        except KeyError:
            raise InputError(f"{name} is not in gang {self.role}") from None
