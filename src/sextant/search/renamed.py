"""A gang under another role: a second gang of shards, beside one that has the name already."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sextant.fleet import Deadline, Fault, Gang, Gather, Landing, MemberState, Missing


class Renamed:
    """A gang whose members are called by the names of another role; the rest is the gang's own.

    Args:
        gang: the members, as `shard-of-4/0`, `shard-of-4/1` and so on.
        role: what they are called instead, as `shard`.
    """

    def __init__(self, gang: Gang, role: str) -> None:
        self.gang = gang
        self._role = role

    def ask(self, body: bytes, deadline: Deadline) -> Gather:
        """See `Gang`."""
        return self._renamed(self.gang.ask(body, deadline))

    def ask_replicas(self, body: bytes, deadline: Deadline) -> Gather:
        """See `Gang`."""
        return self._renamed(self.gang.ask_replicas(body, deadline))

    def ledgers(self, timeout_s: float) -> dict[str, dict[str, Any]]:
        """See `Gang`."""
        return {self._name(name): one for name, one in self.gang.ledgers(timeout_s).items()}

    def states(self) -> dict[str, MemberState]:
        """See `Gang`."""
        return {self._name(name): state for name, state in self.gang.states().items()}

    def missing(self) -> tuple[Missing, ...]:
        """See `Gang`."""
        return self._absent(self.gang.missing())

    def inject(self, fault: Fault) -> Landing:
        """See `Gang`."""
        own = f"{self.gang.role}/{fault.member.partition('/')[2]}"
        return self.gang.inject(replace(fault, member=own))

    def close(self) -> None:
        """See `Gang`."""
        self.gang.close()

    def _name(self, member: str) -> str:
        return f"{self._role}/{member.partition('/')[2]}"

    def _absent(self, missing: Iterable[Missing]) -> tuple[Missing, ...]:
        return tuple(Missing(member=self._name(one.member), why=one.why) for one in missing)

    def _renamed(self, gather: Gather) -> Gather:
        answers = {
            self._name(name): replace(answer, member=self._name(answer.member))
            for name, answer in gather.answers.items()
        }
        return replace(gather, answers=answers, missing=self._absent(gather.missing))
