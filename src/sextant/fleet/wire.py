"""What goes over the wire: keys, headers and the session, with nothing pickled.

A message is a small msgpack header (Zenoh's attachment) and a raw body (its payload), so that a
body is never copied into an envelope.
"""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sextant.errors import EngineError, missing_engine

LEASE_MS = 500
"""A link that carries nothing for this long is closed; its member connects again by itself."""
_WAIT_BEFORE_DROP_US = 10_000


class Outcome(StrEnum):
    """How a member dealt with a request."""

    OK = "ok"
    EXPIRED = "expired"
    OLD_EPOCH = "old epoch"
    FULL = "queue full"
    NOT_UP = "not up"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RequestHeader:
    """Ahead of every request: for which incarnation, until when, and which request."""

    epoch: int
    deadline_s: float
    request: int


@dataclass(frozen=True, slots=True)
class ReplyHeader:
    """Ahead of every reply: from which incarnation, to which request, and where the time went."""

    epoch: int
    request: int
    outcome: Outcome
    queue_s: float = 0.0
    handle_s: float = 0.0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Beat:
    """What a member says of itself, several times a second."""

    member: str
    epoch: int
    pid: int
    node: str
    said: str
    handled: int


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one fleet; `fleet` is random, so that two fleets never hear each other."""

    fleet: str

    def ask(self, member: str, epoch: int) -> str:
        """Where one incarnation of a member takes requests."""
        return f"sextant/{self.fleet}/ask/{member}/{epoch}"

    def control(self, member: str, epoch: int) -> str:
        """Where one incarnation of a member takes orders (ping, ledger, slow, leave)."""
        return f"sextant/{self.fleet}/control/{member}/{epoch}"

    def beat(self, member: str) -> str:
        """Where a member says how it stands."""
        return f"sextant/{self.fleet}/beat/{member}"

    @property
    def beats(self) -> str:
        """Where all members do."""
        return f"sextant/{self.fleet}/beat/**"

    @property
    def pulse(self) -> str:
        """Where the asker says that it is there; members end themselves when it is not."""
        return f"sextant/{self.fleet}/pulse"


def pack(value: Any) -> bytes:
    """Plain data as msgpack."""
    packed: bytes = _msgpack().packb(value)
    return packed


def unpack(raw: bytes) -> Any:
    """Plain data from msgpack.

    Raises:
        ValueError: it is not msgpack.
    """
    return _msgpack().unpackb(raw)


def pack_request(header: RequestHeader) -> bytes:
    """A request header as bytes."""
    return pack((header.epoch, header.deadline_s, header.request))


def unpack_request(raw: bytes) -> RequestHeader:
    """A request header from bytes; raises `ValueError` or `TypeError` on anything else."""
    epoch, deadline_s, request = unpack(raw)
    return RequestHeader(int(epoch), float(deadline_s), int(request))


def pack_reply(header: ReplyHeader) -> bytes:
    """A reply header as bytes."""
    times = (header.queue_s, header.handle_s)
    return pack((header.epoch, header.request, header.outcome.value, *times, header.why))


def unpack_reply(raw: bytes) -> ReplyHeader:
    """A reply header from bytes; raises `ValueError` or `TypeError` on anything else."""
    epoch, request, outcome, queue_s, handle_s, why = unpack(raw)
    return ReplyHeader(int(epoch), int(request), Outcome(outcome), queue_s, handle_s, str(why))


def pack_beat(beat: Beat) -> bytes:
    """A beat as bytes."""
    return pack((beat.member, beat.epoch, beat.pid, beat.node, beat.said, beat.handled))


def unpack_beat(raw: bytes) -> Beat:
    """A beat from bytes; raises `ValueError` or `TypeError` on anything else."""
    return Beat(*unpack(raw))


def zenoh() -> Any:
    """The engine of the wire.

    Raises:
        EngineError: it is not installed.
    """
    try:
        import zenoh
    except ImportError as error:
        raise missing_engine("eclipse-zenoh", "rag") from error
    return zenoh


def listen(host: str) -> tuple[Any, str]:
    """A session that members connect to, and its endpoint.

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
    """A member's session; it keeps trying to connect, and does so again after a lost link."""
    return zenoh().open(_config(listen=[], connect=[endpoint]))


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


def _msgpack() -> Any:
    try:
        import msgpack
    except ImportError as error:
        raise missing_engine("msgpack", "rag") from error
    return msgpack
