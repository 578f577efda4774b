"""The members of one role in a fleet, asked together."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sextant.axes import Axis
from sextant.errors import InputError
from sextant.fleet import inject, messages, wire
from sextant.fleet.answers import BarrierError, Gather, Missing
from sextant.fleet.cluster import Cluster
from sextant.fleet.deadline import Deadline
from sextant.fleet.fault import Fault
from sextant.fleet.health import MemberState
from sextant.fleet.inject import Landing
from sextant.fleet.ledger import Ledger
from sextant.fleet.member import MemberSpec
from sextant.fleet.replicas import Replicas
from sextant.fleet.roster import Change, Ground, Roster
from sextant.fleet.scatter import Scatter, Tally
from sextant.fleet.seat import Seat


class Gang:
    """The members of one role. Made by `Fleet.gang` and `Fleet.find`; every wait is bounded.

    A member may have replicas: processes of the same work, of which one is asked. Everything here
    is in the names of members but what is said to be of replicas; the one replica of a member has
    the member's name (`shard/3`), several are numbered (`shard/3.0`, `shard/3.1`).

    A replica that dies is started again by itself, under a new epoch; one that was stopped is used
    again as soon as it speaks; one that refuses stays out, with its reason.

    Attributes:
        role: what its members are for.
        ledger: what asking cost the caller; waiting and merging are coordination.
        roster: the seats of its replicas; for the fleet.
    """

    def __init__(
        self,
        ground: Ground,
        cluster: Cluster,
        role: str,
        members: Sequence[MemberSpec],
        replicas: int = 1,
        end: Callable[[float], None] | None = None,
    ) -> None:
        names = [spec.name for spec in members]
        if not names or len(set(names)) != len(names):
            raise InputError(f"gang {role} needs members with names of their own: {names}")
        if strangers := [spec.name for spec in members if spec.role != role]:
            raise InputError(f"not of gang {role}: {', '.join(strangers)}")
        if replicas < 1:
            raise InputError(f"a member has at least one replica, not {replicas}")
        self.role = role
        self.ledger = Ledger()
        self._cluster = cluster
        self._end = end
        self._seats = {spec.name: _seats(spec, replicas) for spec in members}
        self.roster = Roster(ground, [seat for seats in self._seats.values() for seat in seats])
        rng = random.Random()
        self._scatter = Scatter(
            ground, role, {name: Replicas(seats, rng) for name, seats in self._seats.items()}
        )
        self._observers: list[Callable[[float, Gather], None]] = []
        self._closed = False
        self.roster.listen(self._tell)

    @property
    def names(self) -> tuple[str, ...]:
        """The members, in the order in which they were given."""
        return tuple(self._seats)

    @property
    def replicas(self) -> Mapping[str, tuple[str, ...]]:
        """The replicas of each member."""
        return {name: tuple(seat.name for seat in seats) for name, seats in self._seats.items()}

    @property
    def epoch(self) -> int:
        """Rises with every change of membership."""
        return self.roster.epoch

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    @property
    def tally(self) -> Tally:
        """How often another replica was asked, and why."""
        return replace(self._scatter.tally)

    def ready(self, timeout_s: float, progress: Callable[[int, int], None] | None = None) -> None:
        """Waits until all replicas serve.

        Args:
            timeout_s: waits no longer than this.
            progress: called with how many serve and how many there are, when that changes.

        Raises:
            BarrierError: somebody is missing: at the timeout, or as soon as all who are missing
                have refused or were given up. It names each replica, for how long and why.
        """
        start_s = time.monotonic()
        shown = -1
        while True:
            missing, hopeless, waited_s = *self._absent(), time.monotonic() - start_s
            present = len(self.roster.seats) - len(missing)
            if progress is not None and present != shown:
                progress(present, len(self.roster.seats))
            shown = present
            if not missing:
                return
            if hopeless or waited_s >= timeout_s:
                names = ", ".join(str(absent) for absent in missing)
                what = f"{len(missing)} of {len(self.roster.seats)} {self.role}s are missing"
                raise BarrierError(f"{what} after {waited_s:.1f} s: {names}", missing)
            with self.roster.lock:
                if len(self._absent()[0]) == len(missing):
                    self.roster.moved.wait(min(0.5, timeout_s - waited_s))

    def ask(self, body: bytes | Mapping[str, bytes], deadline: Deadline) -> Gather:
        """Asks all members the same, or those named each its own; returns by the deadline.

        It returns sooner once everybody of whom a replica is known to be up has answered. A member
        is missing only if no replica of it answered.

        Raises:
            InputError: somebody named is not in the gang.
        """
        bodies = dict.fromkeys(self.names, body) if isinstance(body, bytes) else body
        for name in bodies:
            if name not in self._seats:
                raise InputError(f"{name} is not in gang {self.role}")
        begun_s = time.monotonic()
        with self.ledger.waiting(Axis.COORDINATION):
            gather = self._scatter.ask(bodies, deadline)
        moved = sum(len(bodies[name]) + len(got.body) for name, got in gather.answers.items())
        self.ledger.charge(Axis.COORDINATION, bytes=moved)
        for observer in tuple(self._observers):
            observer(begun_s, gather)
        return gather

    def ask_replicas(self, body: bytes, deadline: Deadline) -> Gather:
        """Asks every replica of every member the same; the gather is in the replicas' names."""
        return self._scatter.ask_each(body, deadline)

    def ledgers(self, timeout_s: float) -> dict[str, dict[str, Any]]:
        """The ledger of each replica that answers in time, as a snapshot."""
        channel = wire.zenoh().handlers.FifoChannel
        asked = {
            name: self.roster.control(seat, {"order": "ledger"}, timeout_s, channel(1))
            for name, seat in self.roster.seats.items()
            if seat.state is MemberState.UP
        }
        found = {}
        for name, replies in asked.items():
            for reply in replies:
                if reply.ok is not None:
                    found[name] = messages.unpack(bytes(reply.ok.payload))
        return found

    def states(self) -> dict[str, MemberState]:
        """How each replica stands."""
        return {name: seat.state for name, seat in self.roster.seats.items()}

    def missing(self) -> tuple[Missing, ...]:
        """The replicas that do not serve now, and why."""
        return self._absent()[0]

    def pid(self, replica: str) -> int | None:
        """The process of a replica, once it spoke."""
        return self._seat(replica).pid

    def handled(self, replica: str) -> int:
        """How many requests its present incarnation dealt with, by its last word."""
        return self._seat(replica).handled

    def on_probation(self) -> tuple[str, ...]:
        """The replicas that are slow, and so asked only to see whether they still are."""
        return self._scatter.on_probation()

    def inject(self, fault: Fault) -> Landing:
        """Carries out a fault now, whatever its time says: at a replica, or all of a member's.

        Raises:
            InputError: there is nobody of that name in the gang.
        """
        seats = [self.roster.seats[name] for name in self.aims(fault.member)]
        return inject.inject(self.roster, self._cluster, fault, seats)

    def aims(self, name: str) -> tuple[str, ...]:
        """The replicas that a name means: one, or all of a member's.

        Raises:
            InputError: there is nobody of that name in the gang.
        """
        if name in self.roster.seats:
            return (name,)
        if name in self._seats:
            return self.replicas[name]
        raise InputError(f"{name} is not in gang {self.role}")

    def on_change(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Calls back when a replica's state changes, from a thread of the fleet.

        Returns:
            what to call to hear no more.
        """
        return self.roster.listen(listener)

    def on_gather(self, observer: Callable[[float, Gather], None]) -> Callable[[], None]:
        """Calls back after each ask, on its thread, with its start (`time.monotonic`) and result.

        Returns:
            what to call to hear no more.
        """
        self._observers.append(observer)
        return lambda: self._observers.remove(observer)

    def close(self, patience_s: float = 2.0) -> None:
        """Tells all members to leave, and ends those who have not in time.

        Where the gang was found rather than made, the members stay: others ask them too.
        """
        if self._closed:
            return
        self._closed = True
        if self._end is not None:
            self._end(patience_s)
        self._scatter.close()

    def sweep(self) -> None:
        """Forgets what will not be answered any more; the fleet calls this."""
        self._scatter.sweep()

    def _tell(self, change: Change) -> None:
        if change.before is MemberState.UP:
            self._scatter.tell(change.member)

    def _absent(self) -> tuple[tuple[Missing, ...], bool]:
        """Who does not serve, and whether nobody of them will."""
        with self.roster.lock:
            seats = [s for s in self.roster.seats.values() if s.state is not MemberState.UP]
            return tuple(s.missing() for s in seats), all(s.state.final for s in seats)

    def _seat(self, name: str) -> Seat:
        return self.roster.seats[self.aims(name)[0]]


def _seats(spec: MemberSpec, replicas: int) -> tuple[Seat, ...]:
    if replicas == 1:
        return (Seat(spec),)
    return tuple(Seat(replace(spec, name=f"{spec.name}.{n}"), spec.name) for n in range(replicas))
