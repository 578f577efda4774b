"""The machines at hand, the gangs that run on them, and the wire between."""

from __future__ import annotations

import atexit
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from sextant.errors import EngineError, InputError
from sextant.fleet.card import Card
from sextant.fleet.charter import Chapter, Charter, fetch
from sextant.fleet.cluster import Cluster, Here
from sextant.fleet.gang import Gang
from sextant.fleet.health import HealthPolicy
from sextant.fleet.member import MemberSpec
from sextant.fleet.office import Office
from sextant.fleet.placement import Node
from sextant.fleet.ray_cluster import RayCluster
from sextant.fleet.watch import Watch

ENV: Mapping[str, str] = {
    # Members are many on a host: threads of BLAS or OpenMP that spin would starve each other.
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # Every thread would come to an arena of its own, and keep there what it freed.
    "MALLOC_ARENA_MAX": "2",
}
_ORPHANED_AFTER_S = 15.0
_QUEUE_LIMIT = 256
_PATIENCE_S = 2.0


class Fleet(AbstractContextManager["Fleet", None]):
    """Runs gangs (`start`), or attaches to those that another process runs (`attach`)."""

    def __init__(self, watch: Watch, *, founded: bool) -> None:
        self._watch = watch
        self._founded = founded
        self._closed = False
        atexit.register(self.close)
        watch.start()

    @classmethod
    def start(
        cls,
        address: str | None = None,
        cpus: int | None = None,
        env: Mapping[str, str] | None = None,
        policy: HealthPolicy | None = None,
    ) -> Fleet:
        """A fleet on the Ray cluster at `address` or `RAY_ADDRESS`; without, on this machine.

        It ends with this process, unless one that attached with `standby` takes it over.

        Args:
            address: of a running cluster, as Ray takes it (`host:port`, `auto`).
            cpus: cores of this machine that may be set aside; all of them by default.
            env: environment of the members, over one thread for BLAS and OpenMP.
            policy: the bounds of health.

        Raises:
            EngineError: an engine is missing, or there is no such cluster.
        """
        address = address or os.environ.get("RAY_ADDRESS")
        office = None if address else Office.open()
        cluster = RayCluster(address) if address else Here(office, cpus)
        charter = Charter(
            number=0,
            gangs={},
            policy=policy or HealthPolicy(),
            env={**ENV, **(env or {})},
            path=tuple(sys.path),
            queue_limit=_QUEUE_LIMIT,
            orphaned_after_s=_ORPHANED_AFTER_S,
            office=office.place if office else None,
            address=address,
        )
        watch = _watch(secrets.token_hex(6), cluster, charter)
        watch.presence.standing = watch.presence.keeping = True
        return cls(watch, founded=True)

    @classmethod
    def attach(cls, card: Card, *, standby: bool = False, timeout_s: float = 10.0) -> Fleet:
        """Attaches to a running fleet: finds its gangs, asks them, sees members come and go.

        This is how a router is made. It is a `Member` of a gang of its own, so that the fleet
        starts it again when it dies; in `warm` it attaches and opens its door, and in `close` it
        drains::

            class Router(Member):
                def __init__(self, port: int) -> None: ...
                def warm(self) -> None:
                    self.fleet = Fleet.attach(self.card, standby=True)
                    self.shards = self.fleet.find("shard")   # a Gang, to ask
                    ...                                      # listen, and serve on threads
                def handle(self, body, deadline): return b""
                def close(self) -> None:
                    ...                                      # take no more, finish what came
                    self.fleet.close()

            with Fleet.start() as fleet:
                fleet.gang("shard", shards, replicas=2)
                fleet.gang("router", routers)                # router/0, router/1: a port each
                ...   # wait; should this process be killed, a router takes the fleet over

        A fleet that stands by itself is ended by `Fleet.attach(card).end()`; keep `card.to_json()`
        where it is found again. SIGTERM is for whoever started it to turn into `close`.

        Args:
            card: `Fleet.card` of any process of the fleet; a member has it as `self.card`.
            standby: take the fleet over when its keeper dies. As long as somebody stands by, the
                fleet lives on.
            timeout_s: how long to look for it.

        Raises:
            EngineError: the fleet does not answer, or an engine is missing.
        """
        charter = fetch(card, timeout_s)
        watch = _watch(card.fleet, _cluster(charter, card, standby=standby), charter)
        watch.presence.connect(card.endpoints)
        watch.presence.standing = standby
        return cls(watch, founded=False)

    @property
    def card(self) -> Card:
        """What another process needs to attach."""
        return self._watch.card

    @property
    def nodes(self) -> tuple[str, ...]:
        """The addresses of the machines that live, by the last word of Ray where there are more."""
        return tuple(node.host for node in self._watch.nodes())

    @property
    def founded(self) -> bool:
        """Whether this process started it, and so ends it; it attached otherwise."""
        return self._founded

    @property
    def keeping(self) -> bool:
        """Whether this process keeps the fleet: starts its members, again if they die."""
        return self._watch.presence.keeping

    @property
    def over(self) -> bool:
        """Whether the fleet has been ended on purpose."""
        return self._watch.presence.over

    def gang(self, role: str, members: Sequence[MemberSpec], replicas: int = 1) -> Gang:
        """Starts the members of a role, each with so many replicas, without waiting for them.

        Raises:
            InputError: the role is taken, the members do not fit it, their arguments are not
                plain data, or this process attached to the fleet.
            InfeasibleError: there is no room for what they ask for.
        """
        if not self._founded:
            raise InputError("only the process that started a fleet starts gangs in it")
        pins = self._watch.reserve(members)
        return self._watch.found(
            role, Chapter(members=tuple(members), replicas=replicas, pins=pins)
        )

    def find(self, role: str, timeout_s: float = 10.0) -> Gang:
        """The gang of a role that runs in this fleet, whoever started it.

        Raises:
            EngineError: there is none by then.
        """
        gang = self._watch.find(role, timeout_s)
        if gang is None:
            raise EngineError(f"there is no gang {role} in the fleet after {timeout_s:g} s")
        return gang

    def end(self, patience_s: float = _PATIENCE_S) -> None:
        """Ends the fleet for everybody, whoever started it: all its members leave."""
        self._watch.end_all(patience_s)

    def close(self) -> None:
        """Ends the fleet where this process started it, else lets go of it; once."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        try:
            if self._founded:
                self.end()
        finally:
            self._watch.close()

    def __exit__(self, *_: object) -> None:
        self.close()


def _watch(fleet: str, cluster: Cluster, charter: Charter) -> Watch:
    try:
        return Watch(fleet, secrets.token_hex(4), cluster, charter)
    except BaseException:
        cluster.close()
        raise


def _cluster(charter: Charter, card: Card, *, standby: bool) -> Cluster:
    """The machines, as a process sees them that has attached."""
    if charter.address is not None:
        return RayCluster(charter.address, Node(card.node, card.host))
    office = None
    if standby and charter.office is not None:
        try:
            office = Office.enter(charter.office)
        except OSError as error:
            raise EngineError(f"the fleet of this card has ended: {error}") from error
    return Here(office)
