"""What goes over the wire: a few bytes of header ahead of a raw body, and nothing pickled.

The header is Zenoh's attachment and the body its payload, so that a body is never copied into an
envelope. Requests and replies have a fixed binary header, because every one of a fan-out's costs
its reader some microseconds that the slowest of N waits for; all else is msgpack.
"""

from __future__ import annotations

import struct
from dataclasses import astuple, dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

from sextant.errors import missing_engine


class Outcome(StrEnum):
    """How a member dealt with a request."""

    OK = "ok"
    EXPIRED = "expired"
    OLD_EPOCH = "old epoch"
    FULL = "queue full"
    NOT_UP = "not up"
    FAILED = "failed"


class RequestHeader(NamedTuple):
    """Ahead of every request: for which incarnation, which request, and until when."""

    epoch: int
    request: int
    deadline_s: float


class ReplyHeader(NamedTuple):
    """Ahead of every reply: from which incarnation, to which request, and where the time went."""

    epoch: int
    request: int
    outcome: Outcome
    queue_s: float = 0.0
    handle_s: float = 0.0
    why: str = ""


_REQUEST, _REPLY = struct.Struct("<QQd"), struct.Struct("<QQBdd")
_OUTCOMES = tuple(Outcome)
_NUMBERS = {outcome: number for number, outcome in enumerate(_OUTCOMES)}


@dataclass(frozen=True, slots=True)
class Beat:
    """What a member says of itself, several times a second."""

    member: str
    epoch: int
    pid: int
    node: str
    said: str
    handled: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class Pulse:
    """What an asker says of itself: that it is there, whether it keeps the fleet, who else asks.

    Attributes:
        asker: its name, random.
        endpoint: where it listens.
        rank: when it came (ns since the epoch); of those who stand by, the first takes over.
        term: the keeper's term that it knows of; each takeover begins the next.
        keeping: whether it keeps the fleet.
        standing: whether it would.
        over: whether the fleet has been ended on purpose.
        charter: the number of the charter that it has.
        askers: endpoints of the others that it hears.
    """

    asker: str
    endpoint: str
    rank: int
    term: int
    keeping: bool
    standing: bool
    over: bool
    charter: int
    askers: tuple[str, ...]


def pack(value: Any) -> bytes:
    """Plain data as msgpack.

    Raises:
        TypeError: it is not plain data.
    """
    packed: bytes = _msgpack().packb(value)
    return packed


def unpack(raw: bytes) -> Any:
    """Plain data from msgpack.

    Raises:
        ValueError: it is not msgpack.
    """
    return _msgpack().unpackb(raw)


def pack_request(epoch: int, request: int, deadline_s: float) -> bytes:
    """A request header as bytes."""
    return _REQUEST.pack(epoch, request, deadline_s)


def unpack_request(raw: bytes) -> RequestHeader:
    """A request header from bytes; raises `ValueError` on anything else."""
    try:
        return RequestHeader._make(_REQUEST.unpack(raw))
    except struct.error as error:
        raise ValueError(str(error)) from error


def pack_reply(
    epoch: int,
    request: int,
    outcome: Outcome,
    queue_s: float = 0.0,
    handle_s: float = 0.0,
    why: str = "",
) -> bytes:
    """A reply header as bytes."""
    fixed = _REPLY.pack(epoch, request, _NUMBERS[outcome], queue_s, handle_s)
    return fixed + why.encode(errors="replace") if why else fixed


def unpack_reply(raw: bytes) -> ReplyHeader:
    """A reply header from bytes; raises `ValueError` on anything else."""
    try:
        epoch, request, outcome, queue_s, handle_s = _REPLY.unpack_from(raw)
        why = raw[_REPLY.size :].decode()
        return ReplyHeader(epoch, request, _OUTCOMES[outcome], queue_s, handle_s, why)
    except (struct.error, IndexError) as error:
        raise ValueError(str(error)) from error


def pack_beat(beat: Beat) -> bytes:
    """A beat as bytes."""
    return pack(astuple(beat))


def unpack_beat(raw: bytes) -> Beat:
    """A beat from bytes; raises `ValueError` or `TypeError` on anything else."""
    return Beat(*unpack(raw))


def pack_pulse(pulse: Pulse) -> bytes:
    """A pulse as bytes."""
    return pack(astuple(pulse))


def unpack_pulse(raw: bytes) -> Pulse:
    """A pulse from bytes; raises `ValueError` or `TypeError` on anything else."""
    pulse = Pulse(*unpack(raw))
    return replace(pulse, askers=tuple(str(endpoint) for endpoint in pulse.askers))


def _msgpack() -> Any:
    try:
        import msgpack
    except ImportError as error:
        raise missing_engine("msgpack", "rag") from error
    return msgpack
