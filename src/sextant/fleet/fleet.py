"""The machines at hand: a Ray cluster, and the wire between its members."""

from __future__ import annotations

import atexit
import os
import secrets
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from sextant.errors import InputError
from sextant.fleet import wire
from sextant.fleet.cluster import Cluster
from sextant.fleet.gang import Gang
from sextant.fleet.health import HealthPolicy
from sextant.fleet.member import MemberSpec
from sextant.fleet.roster import Ground
from sextant.fleet.wire import Keys

ENV: Mapping[str, str] = {
    # Members are many on a host: threads of BLAS or OpenMP that spin would starve each other.
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
_TICK_S = 0.05
_PULSE_S = 0.5
_ORPHANED_AFTER_S = 15.0
_QUEUE_LIMIT = 256


class Fleet:
    """Runs gangs on a Ray cluster; a context manager, so that nothing is left behind."""

    def __init__(self, cluster: Cluster, env: Mapping[str, str], policy: HealthPolicy) -> None:
        session, endpoint = wire.listen(cluster.host)
        self._wake = threading.Event()
        self._ground = Ground(
            cluster=cluster,
            session=session,
            keys=Keys(secrets.token_hex(6)),
            endpoint=endpoint,
            env={**ENV, **env},
            policy=policy,
            queue_limit=_QUEUE_LIMIT,
            orphaned_after_s=_ORPHANED_AFTER_S,
            wake=self._wake.set,
        )
        self._gangs: dict[str, Gang] = {}
        self._closing = threading.Event()
        handler = wire.zenoh().handlers.Callback(self._hear, indirect=False)
        self._beats = session.declare_subscriber(self._ground.keys.beats, handler)
        self._watch = threading.Thread(target=self._look, name="fleet-watch", daemon=True)
        self._watch.start()
        atexit.register(self.close)

    @classmethod
    def start(
        cls,
        address: str | None = None,
        cpus: int | None = None,
        env: Mapping[str, str] | None = None,
        policy: HealthPolicy | None = None,
    ) -> Fleet:
        """Joins the Ray cluster at `address` or `RAY_ADDRESS`; without either starts a local one.

        Args:
            address: of a running cluster, as Ray takes it (`host:port`, `auto`).
            cpus: cores of a local cluster that may be set aside; all of them by default.
            env: environment of the members, over one thread for BLAS and OpenMP.
            policy: the bounds of health.

        Raises:
            EngineError: an engine is missing, or does not start.
        """
        address = address or os.environ.get("RAY_ADDRESS")
        env = dict(env or {})
        before = _terminate_handler()
        cluster = Cluster.join(address) if address else Cluster.local(cpus, {**ENV, **env})
        try:
            fleet = cls(cluster, env, policy or HealthPolicy())
        except BaseException:
            cluster.close()
            raise
        fleet._terminate_before = before
        return fleet

    _terminate_before: Any = None

    def gang(self, role: str, members: Sequence[MemberSpec]) -> Gang:
        """Starts the members of a role, without waiting for them.

        Raises:
            InputError: the role is taken, or the members do not fit it.
        """
        if role in self._gangs and not self._gangs[role].closed:
            raise InputError(f"there is a gang {role} already")
        self._gangs[role] = gang = Gang(self._ground, role, members)
        return gang

    def close(self) -> None:
        """Ends all gangs and lets go of the cluster; a second call does nothing."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._wake.set()
        atexit.unregister(self.close)
        try:
            self._watch.join(timeout=2.0)
            for gang in self._gangs.values():
                gang.close()
            self._ground.session.close()
        finally:
            self._ground.cluster.close()
            if self._terminate_before is not None:
                signal.signal(signal.SIGTERM, self._terminate_before)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _hear(self, sample: Any) -> None:
        try:
            beat = wire.unpack_beat(bytes(sample.payload))
        except (ValueError, TypeError):
            return
        gang = self._gangs.get(beat.member.partition("/")[0])
        if gang is not None:
            gang.hear(beat)

    def _look(self) -> None:
        pulsed_s = 0.0
        while not self._closing.is_set():
            if time.monotonic() - pulsed_s >= _PULSE_S:
                pulsed_s = time.monotonic()
                self._ground.session.put(self._ground.keys.pulse, b"", express=True)
            for gang in tuple(self._gangs.values()):
                gang.tick()
            self._wake.wait(_TICK_S)
            self._wake.clear()


def _terminate_handler() -> Any:
    """The handler of SIGTERM, which Ray replaces by one that exits; put back at the end."""
    if threading.current_thread() is threading.main_thread():
        return signal.getsignal(signal.SIGTERM)
    return None
