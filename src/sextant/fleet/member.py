"""What a member of a gang is: its work, and how the fleet is told to start it."""

from __future__ import annotations

import importlib
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sextant.errors import InputError
from sextant.fleet.card import Card
from sextant.fleet.deadline import Deadline
from sextant.fleet.ledger import Ledger

_NAME = re.compile(r"[a-z][a-z0-9_-]*/[a-z0-9][a-z0-9_-]*(\.[0-9]+)?")


class Member(ABC):
    """One member's work. It lives in an operating-system process of its own.

    The factory of a member is called with the arguments of its `MemberSpec` as keywords. It must
    be cheap: what takes long belongs in `warm`, during which the fleet already sees the member.
    A member is thrown away with its process; a restart calls the factory and `warm` again, so
    nothing that matters may live in memory only.
    """

    ledger: Ledger
    """Set by the host before `warm`; every second of work should be charged to it."""
    card: Card
    """The fleet's card, set by the host before `warm`: with it a member attaches to its fleet
    (`Fleet.attach`), to ask the other gangs. A router is such a member: see `Fleet.attach`."""

    @abstractmethod
    def warm(self) -> None:
        """Loads what `handle` needs; may be slow; is called once, before the first `handle`.

        Raises:
            SextantError: the member refuses to serve. Its message is reported to whoever asks,
                and the fleet does not start it again. Any other exception counts as a crash.
        """

    @abstractmethod
    def handle(self, body: bytes, deadline: Deadline) -> bytes:
        """Answers one request; called from one thread only, one request at a time.

        It must be idempotent, because a request may come twice. It should give up, with what it
        has, once `deadline` has passed: nobody waits for the answer any more.

        Raises:
            SextantError: this request cannot be answered; the asker sees the message as the
                reason, and the member goes on. Any other exception is reported with its type.
                Where there are replicas another one is asked.
        """

    def close(self) -> None:  # noqa: B027  nothing to let go of is the rule
        """Lets go of what the member holds; called once, when it was told to leave.

        A server drains here. The fleet ends the process of one that takes longer than the patience
        with which its gang is closed. A member that is killed is not asked.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class MemberSpec:
    """How to start one member.

    Attributes:
        name: `role/what`, as in `shard/3`; unique in its gang. A dot and a number at the end are
            the fleet's, for the replicas.
        factory: `package.module:Name` of the callable that returns the `Member`.
        arguments: keywords for the factory; plain data, as JSON would hold.
        cpus: the share of a core that the fleet sets aside: 0, or a power of two.
        memory_bytes: memory that the fleet sets aside.
        env: environment of the process, over the fleet's own (one thread for BLAS and OpenMP).
    """

    name: str
    factory: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    cpus: float = 0.0
    memory_bytes: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(f"{self.name!r} is no name of a member", hint="such as shard/3")
        if ":" not in self.factory:
            raise InputError(f"{self.factory!r} is no factory", hint="such as package.module:Name")

    @property
    def role(self) -> str:
        """The part of the name before the slash."""
        return self.name.partition("/")[0]


def build(factory: str, arguments: Mapping[str, Any]) -> Member:
    """The member that a factory returns.

    Raises:
        InputError: there is no such factory, or it does not return a `Member`.
    """
    module, _, name = factory.partition(":")
    try:
        make = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"no factory {factory}: {error}") from error
    member = make(**arguments)
    if not isinstance(member, Member):
        raise InputError(f"{factory} returned {type(member).__name__}, which is no Member")
    return member
