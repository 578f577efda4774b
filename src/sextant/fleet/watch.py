"""What one asker does all the time: hears members and other askers, judges, and keeps if it is due.

What comes in on the wire's threads is noted in the rosters at once; everything else happens in
`step`, on one thread.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from sextant.errors import InputError
from sextant.fleet import messages, wire
from sextant.fleet.card import Card
from sextant.fleet.charter import TERM, Chapter, Charter
from sextant.fleet.cluster import Cluster
from sextant.fleet.gang import Gang
from sextant.fleet.keeper import Keeper, Post
from sextant.fleet.linger import Unlingering
from sextant.fleet.member import MemberSpec
from sextant.fleet.placement import Node
from sextant.fleet.presence import Presence
from sextant.fleet.processes import process_state
from sextant.fleet.roster import Ground
from sextant.fleet.wire import Keys

_TICK_S = 0.05
_AWAY_S = 0.4
"""A watch that did not look for so long (it was stopped, or starved) blames nobody's silence."""
_FETCH_S = 1.0
_UNLINGERED_EVERY_S = 0.5


class Watch:
    """One asker's gangs, its part among the askers, and the thread that looks after them."""

    def __init__(self, fleet: str, asker: str, cluster: Cluster, charter: Charter) -> None:
        self.gangs: dict[str, Gang] = {}
        self._charter = charter
        self._cluster = cluster
        self._keys = Keys(fleet)
        self._session, endpoint = wire.listen(cluster.here.host)
        self.presence = Presence(self._session, self._keys, asker, endpoint)
        self._wake = threading.Event()
        self._ground = Ground(
            asker=asker,
            session=self._session,
            keys=self._keys,
            node=cluster.here.name,
            policy=charter.policy,
            wake=self._wake.set,
        )
        self._keepers: dict[str, Keeper] = {}
        self._epoch = 0
        self._unlingering = Unlingering(_UNLINGERED_EVERY_S)
        self._unwanted: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
        self._acting = threading.RLock()
        self._moved = threading.Condition(self._acting)
        self._closing = threading.Event()
        self._entities = self._declare()
        self._thread = threading.Thread(target=self._look, name="fleet-watch", daemon=True)
        self._adopt(charter)

    @property
    def card(self) -> Card:
        """The fleet's card, with the askers that are heard now."""
        here = self._cluster.here
        return Card(
            fleet=self._keys.fleet,
            endpoints=self.presence.endpoints,
            node=here.name,
            host=here.host,
        )

    def start(self) -> None:
        """Begins to look."""
        # What looking at a process takes is loaded now, and not when the first member is quiet:
        # an ask that waits for it would be late.
        process_state(os.getpid())
        self._thread.start()

    def found(self, role: str, chapter: Chapter) -> Gang:
        """Starts a gang.

        Raises:
            InputError: the role is taken, the members do not fit it, or their arguments are no
                plain data.
        """
        with self._acting:
            if role in self.gangs:
                raise InputError(f"there is a gang {role} already")
            charter = self._charter.with_gang(role, chapter, self.presence.term)
            try:
                charter.pack()
            except TypeError as error:
                raise InputError(f"arguments that are not plain data: {error}") from error
            gang = self._gang(role, chapter, founded=True)
            self._charter = charter
            self.gangs[role] = gang
            self._keepers[role] = self._keeper(role)
            self._keepers[role].start()
            return gang

    def nodes(self) -> Sequence[Node]:
        """The machines that live."""
        return self._cluster.nodes()

    def reserve(self, members: Sequence[MemberSpec]) -> Mapping[str, str]:
        """Sets aside what members need; returns the node of those that have to be on one.

        Raises:
            InfeasibleError: there is no room.
        """
        return self._cluster.reserve(members)

    def find(self, role: str, timeout_s: float) -> Gang | None:
        """The gang of a role, once it is in the charter; none if that takes too long."""
        with self._moved:
            self._moved.wait_for(lambda: role in self.gangs, timeout_s)
            return self.gangs.get(role)

    def end_all(self, patience_s: float) -> None:
        """Ends the fleet for everybody: nobody takes over, all members leave."""
        self.presence.over = True
        with self._acting:
            self.presence.step(self._charter.number)
            keepers = [self._keeper(role) for role in self.gangs]
            for keeper in keepers:
                keeper.dismiss_all()
            for keeper in keepers:
                keeper.close(patience_s, os.getpid())

    def close(self) -> None:
        """Looks no more, and leaves the wire."""
        self._closing.set()
        self._wake.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout=2.0)
        for gang in tuple(self.gangs.values()):
            gang.close()
        self.presence.close()
        self._session.close()
        self._cluster.close()

    def _gang(self, role: str, chapter: Chapter, *, founded: bool = False) -> Gang:
        end = partial(self._end, role) if founded else None
        return Gang(self._ground, self._cluster, role, chapter.members, chapter.replicas, end=end)

    def _end(self, role: str, patience_s: float) -> None:
        """Ends the gang of a role, and strikes it from the charter."""
        with self._acting:
            if role in self.gangs and not self.presence.over:
                self._charter = self._charter.with_gang(role, None, self.presence.term)
                self._keeper(role).close(patience_s, os.getpid())
            self._keepers.pop(role, None)
            self.gangs.pop(role, None)

    def _keeper(self, role: str) -> Keeper:
        charter = self._charter
        post = Post(
            cluster=self._cluster,
            card=lambda: self.card,
            path=charter.path,
            env=charter.env,
            beat_s=charter.policy.beat_s,
            queue_limit=charter.queue_limit,
            orphaned_after_s=charter.orphaned_after_s,
            next_epoch=self._next_epoch,
        )
        pins = charter.gangs[role].pins if role in charter.gangs else {}
        return Keeper(self.gangs[role].roster, post, pins)

    def _next_epoch(self) -> int:
        heard = (gang.epoch for gang in self.gangs.values())
        self._epoch = max(self._epoch, self.presence.term * TERM, *heard) + 1
        return self._epoch

    def _declare(self) -> list[Any]:
        declare, keys = self._session.declare_subscriber, self._keys
        tell = wire.direct(self._tell_charter)
        return [
            declare(keys.beats, wire.direct(self._hear)),
            self._session.liveliness().declare_subscriber(
                keys.all_alive, wire.direct(self._hear_token)
            ),
            self._session.declare_queryable(keys.charter, tell),
        ]

    def _look(self) -> None:
        looked_s = time.monotonic()
        while not self._closing.is_set():
            now_s = time.monotonic()
            if now_s - looked_s > _AWAY_S:
                for gang in tuple(self.gangs.values()):
                    gang.roster.forgive()
            with self._acting:
                self._step()
            looked_s = now_s
            self._wake.wait(_TICK_S)
            self._wake.clear()

    def _step(self) -> None:
        self._unlingering.look(time.monotonic())
        presence = self.presence
        presence.step(self._charter.number)
        if presence.newest_charter > self._charter.number:
            self._follow_charter()
        if presence.keeping:
            self._keep()
        else:
            self._keepers.clear()
            for gang in tuple(self.gangs.values()):
                for seat in gang.roster.seats.values():
                    gang.roster.judge(seat)
        for gang in tuple(self.gangs.values()):
            gang.sweep()

    def _keep(self) -> None:
        for role in self.gangs.keys() - self._keepers.keys():
            self._keepers[role] = self._keeper(role)
            self._keepers[role].adopt()
        for name, epoch, why in self._cluster.ends():
            if keeper := self._keepers.get(_role(name)):
                keeper.end(name, epoch, why)
        while not self._unwanted.empty():
            name, epoch = self._unwanted.get()
            if keeper := self._keepers.get(_role(name)):
                keeper.dismiss(name, epoch)
        for keeper in tuple(self._keepers.values()):
            keeper.tick()

    def _follow_charter(self) -> None:
        for raw in self.presence.fetch_charter(_FETCH_S):
            try:
                charter = Charter.unpack(raw)
            except (ValueError, TypeError, KeyError):
                continue
            if charter.number > self._charter.number:
                self._adopt(charter)

    def _adopt(self, charter: Charter) -> None:
        """Goes by another charter: finds the gangs that are new, lets go of those that ended."""
        with self._moved:
            self._charter = charter
            for role in self.gangs.keys() - charter.gangs.keys():
                self.gangs.pop(role).close()
                self._keepers.pop(role, None)
            for role, chapter in charter.gangs.items():
                if role not in self.gangs:
                    self.gangs[role] = self._gang(role, chapter)
            self._moved.notify_all()

    def _hear(self, sample: Any) -> None:
        wire.settle()
        try:
            beat = messages.unpack_beat(bytes(sample.payload))
        except (ValueError, TypeError):
            return
        gang = self.gangs.get(_role(beat.member))
        keeping = self.presence.keeping
        if gang is not None and gang.roster.hear(beat, keeping=keeping) and keeping:
            self._unwanted.put((beat.member, beat.epoch))

    def _hear_token(self, sample: Any) -> None:
        *_, role, what, epoch = str(sample.key_expr).split("/")
        gang = self.gangs.get(role)
        if gang is not None and epoch.isdigit():
            linked = sample.kind == wire.zenoh().SampleKind.PUT
            gang.roster.link(f"{role}/{what}", int(epoch), linked=linked)

    def _tell_charter(self, query: Any) -> None:
        query.reply(query.key_expr, self._charter.pack())


def _role(name: str) -> str:
    return name.partition("/")[0]
