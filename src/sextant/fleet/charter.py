"""What a fleet consists of, as plain data: every asker has a copy, so any can go on with it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from sextant.errors import EngineError
from sextant.fleet import messages, wire
from sextant.fleet.card import Card
from sextant.fleet.health import HealthPolicy
from sextant.fleet.member import MemberSpec
from sextant.fleet.wire import Keys

TERM = 1 << 20
"""Numbers of charters, and epochs, of one keeper's term; those of a later one are all higher."""
_ASKED_S, _PAUSE_S = 1.0, 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Chapter:
    """One gang: its members, how many replicas each has, and where some of them have to be."""

    members: tuple[MemberSpec, ...]
    replicas: int
    pins: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Charter:
    """All that whoever keeps the fleet must know.

    Attributes:
        number: rises with every change; those of a later term are higher.
        gangs: by role.
        policy: the bounds of health.
        env: environment of every member.
        path: where members import from.
        queue_limit: requests that may wait in a member.
        orphaned_after_s: a member that hears no asker for so long ends.
        office: the place of the office, of a fleet of one machine.
        address: of the Ray cluster, of a fleet of several.
    """

    number: int
    gangs: Mapping[str, Chapter]
    policy: HealthPolicy
    env: Mapping[str, str]
    path: tuple[str, ...]
    queue_limit: int
    orphaned_after_s: float
    office: Mapping[str, str] | None
    address: str | None

    def with_gang(self, role: str, chapter: Chapter | None, term: int) -> Self:
        """The next charter: with another gang, or without it."""
        gangs = {name: kept for name, kept in self.gangs.items() if name != role}
        if chapter is not None:
            gangs[role] = chapter
        return replace(self, number=max(self.number, term * TERM) + 1, gangs=gangs)

    def pack(self) -> bytes:
        """As bytes."""
        return messages.pack(asdict(self))

    @classmethod
    def unpack(cls, raw: bytes) -> Self:
        """From bytes; raises `ValueError`, `TypeError` or `KeyError` on anything else."""
        plain = messages.unpack(raw)
        policy = {**plain["policy"], "pauses_s": tuple(plain["policy"]["pauses_s"])}
        gangs = {role: _chapter(chapter) for role, chapter in plain["gangs"].items()}
        return cls(
            **{
                **plain,
                "gangs": gangs,
                "policy": HealthPolicy(**policy),
                "path": tuple(plain["path"]),
            }
        )


def _chapter(plain: Mapping[str, Any]) -> Chapter:
    members: Sequence[Mapping[str, Any]] = plain["members"]
    specs = tuple(MemberSpec(**spec) for spec in members)
    return Chapter(members=specs, replicas=plain["replicas"], pins=plain["pins"])


def fetch(card: Card, timeout_s: float) -> Charter:
    """The charter of a running fleet, from the first of its askers that answers.

    Raises:
        EngineError: none does in time.
    """
    until_s = time.monotonic() + timeout_s
    key = Keys(card.fleet).charter
    while time.monotonic() < until_s:
        for endpoint in card.endpoints:
            session = wire.connect(endpoint)
            try:
                for reply in session.get(key, timeout=_ASKED_S):
                    if reply.ok is not None:
                        return Charter.unpack(bytes(reply.ok.payload))
            finally:
                session.close()
        time.sleep(_PAUSE_S)
    raise EngineError(
        f"no fleet answers at {', '.join(card.endpoints)}",
        hint="it has ended, or this is an old card",
    )
