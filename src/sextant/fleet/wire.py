"""The wire: its keys, and the sessions of those who ask and of those who answer.

Everybody who asks listens; members connect to each asker by a session of its own. So the wire is a
star around every asker, none of which needs another one to live.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import threading
from dataclasses import dataclass
from typing import Any

from sextant.errors import EngineError, InputError, missing_engine

LEASE_MS = 500
"""A link that carries nothing for this long is closed; its member connects again by itself."""
_PEER_LEASE_MS = 2000
"""Between equals, who notice silence themselves: with a short lease most of what goes over their
many links is only there to keep them."""
_WAIT_BEFORE_DROP_US = 10_000
_OPEN_MS = 1000
_ONE_THREAD = (
    "(rx: (worker_threads: 1), tx: (handover: rx), app: (handover: rx), "
    "net: (handover: rx), acc: (handover: rx))"
)
"""Zenoh's work on one thread a process: sixteen processes on two cores lose a third of a fan-out's
time by handing each message from thread to thread (docs/log.md)."""

_settled = threading.local()


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one fleet; `fleet` is random, so that two fleets never hear each other."""

    fleet: str

    def ask(self, member: str, epoch: int) -> str:
        """Where one incarnation of a member takes requests."""
        return f"sextant/{self.fleet}/ask/{member}/{epoch}"

    def answer(self, role: str) -> str:
        """Where an asker takes the answers of a gang; on its own links only its own ones come."""
        return f"sextant/{self.fleet}/answer/{role}"

    def control(self, member: str, epoch: int) -> str:
        """Where one incarnation of a member takes orders (ping, ledger, slow, cut, leave)."""
        return f"sextant/{self.fleet}/control/{member}/{epoch}"

    def beat(self, member: str) -> str:
        """Where a member says how it stands."""
        return f"sextant/{self.fleet}/beat/{member}"

    def alive(self, member: str, epoch: int) -> str:
        """The liveliness token of one incarnation of a member."""
        return f"sextant/{self.fleet}/alive/{member}/{epoch}"

    def asker(self, asker: str) -> str:
        """The liveliness token of an asker."""
        return f"sextant/{self.fleet}/asker/{asker}"

    @property
    def beats(self) -> str:
        """Where all members say how they stand."""
        return f"sextant/{self.fleet}/beat/**"

    @property
    def all_alive(self) -> str:
        """The tokens of all members."""
        return f"sextant/{self.fleet}/alive/**"

    @property
    def askers(self) -> str:
        """The tokens of all askers."""
        return f"sextant/{self.fleet}/asker/*"

    @property
    def pulse(self) -> str:
        """Where an asker says that it is there; members end themselves when none is."""
        return f"sextant/{self.fleet}/pulse"

    @property
    def charter(self) -> str:
        """Where an asker tells what the fleet consists of."""
        return f"sextant/{self.fleet}/charter"


def zenoh() -> Any:
    """The engine of the wire.

    Raises:
        EngineError: it is not installed.
    """
    # Zenoh reads it once, when the first session of the process is opened.
    os.environ.setdefault("ZENOH_RUNTIME", _ONE_THREAD)
    try:
        import zenoh
    except ImportError as error:
        raise missing_engine("eclipse-zenoh", "rag") from error
    return zenoh


def listen(host: str) -> tuple[Any, str]:
    """An asker's session, which members connect to, and its endpoint.

    Raises:
        EngineError: no port could be had.
    """
    for _ in range(8):
        with socket.socket() as probe:
            probe.bind((host, 0))
            port = probe.getsockname()[1]
        endpoint = f"tcp/{host}:{port}"
        try:
            return zenoh().open(_config(listen=[endpoint], connect=[])), endpoint
        except zenoh().ZError:
            # Somebody took the port between the probe and the session.
            continue
    raise EngineError(f"no port for the wire on {host}")


def connect(endpoint: str) -> Any:
    """A session to one asker; it keeps trying to connect, and does so again after a lost link."""
    return zenoh().open(_config(listen=[], connect=[endpoint]))


def peer(endpoint: str, others: list[str]) -> Any:
    """A session among equals: it listens at one endpoint, and connects to those of others.

    Endpoints are `udp/...` where a link may be cut: closing a TCP link with something unsent waits
    for up to 10 s, and the wire's one thread with it.

    Raises:
        InputError: an endpoint is none.
        EngineError: it cannot listen there.
    """
    try:
        config = _config(listen=[endpoint], connect=others)
    except zenoh().ZError as error:
        hint = "such as tcp/127.0.0.1:7447"
        raise InputError(_cause(error), where="listen or peers", hint=hint) from error
    # Over UDP nothing says that nobody is there yet.
    config.insert_json5("transport/unicast/open_timeout", str(_OPEN_MS))
    config.insert_json5("transport/link/tx/lease", str(_PEER_LEASE_MS))
    try:
        return zenoh().open(config)
    except zenoh().ZError as error:
        hint = (
            "one at a time: what has it, maybe an earlier self that still flies, has to end first; "
            "or name another endpoint of this computer"
        )
        raise EngineError(_cause(error), where=f"listen {endpoint}", hint=hint) from error


def _cause(error: Exception) -> str:
    """What the wire's engine says, without the lines of its own source that it names."""
    return str(error).partition(" at /")[0].rpartition(": [")[2].rpartition('msg: "')[2]


def direct(call: Any) -> Any:
    """A handler that is called on the wire's own thread: it must not take long, nor wait."""
    return zenoh().handlers.Callback(call, indirect=False)


def newest(count: int) -> Any:
    """A handler that keeps the newest so many, to be had by `try_recv`; nothing is called."""
    return zenoh().handlers.RingChannel(count)


def settle() -> None:
    """Keeps Python's state of the calling thread, one of the wire's own, for as long as it lives.

    Without it Python makes the state anew for every call from such a thread, and lets it go after:
    some twenty microseconds each, which every message of a fan-out would pay twice. To be called
    now and then from what the wire calls, because the wire may put another thread to work.
    """
    if not hasattr(_settled, "state"):
        _settled.state = ctypes.pythonapi.PyGILState_Ensure()


def _config(*, listen: list[str], connect: list[str]) -> Any:
    config = zenoh().Config()
    retry = {"period_init_ms": 50, "period_max_ms": 200, "period_increase_factor": 1.5}
    settings = {
        "mode": "peer",
        "scouting/multicast/enabled": False,
        "scouting/gossip/enabled": False,
        "listen/endpoints": listen,
        "connect/endpoints": connect,
        "connect/timeout_ms": -1,
        "connect/exit_on_failure": False,
        "connect/retry": retry,
        "transport/link/tx/lease": LEASE_MS,
        "transport/link/tx/keep_alive": 4,
        "transport/shared_memory/enabled": False,
        # Zenoh drops a message that finds its link's few batches taken for 1 ms; on a busy host a
        # healthy link is that slow now and then. A stopped peer may hold a sender this long.
        "transport/link/tx/queue/size/data": 16,
        "transport/link/tx/queue/congestion_control/drop/wait_before_drop": _WAIT_BEFORE_DROP_US,
    }
    for key, value in settings.items():
        config.insert_json5(key, json.dumps(value))
    return config
