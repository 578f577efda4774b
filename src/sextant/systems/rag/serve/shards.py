"""How the shards stand, and stopping one of them to see what it costs."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import Any

from sextant.errors import InputError
from sextant.fleet import Fault, FaultKind, MemberState
from sextant.systems.rag.serve.desk import Answering
from sextant.systems.rag.serve.refusal import Refusal

STATES = tuple(state.value for state in MemberState)


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One process (or thread) that serves a shard."""

    name: str
    state: str
    why: str
    pid: int | None


def members(service: Answering) -> list[Member]:
    """Everybody who serves, or should."""
    gang = _processes(service)
    if gang is not None:
        why = {missing.member: missing.why for missing in gang.missing()}
        return [
            Member(name=name, state=state.value, why=why.get(name, ""), pid=gang.pid(name))
            for name, state in gang.states().items()
        ]
    refused = getattr(service.gang, "refused", {})
    return [
        Member(
            name=card.name,
            state=(MemberState.REFUSED if card.name in refused else MemberState.UP).value,
            why=refused.get(card.name, ""),
            pid=os.getpid(),
        )
        for card in service.manifest.shards
    ]


def _processes(service: Answering) -> Any:
    """The gang whose members are processes, under whatever names; None if they are threads."""
    gang: Any = service.gang
    # A gang under other names stands beside another that is about to go.
    gang = getattr(gang, "gang", gang)
    return gang if hasattr(gang, "states") else None


def counts(service: Answering) -> dict[str, int]:
    """How many members are in each state."""
    return Counter(member.state for member in members(service))


def serving(service: Answering) -> bool:
    """Whether at least one member serves."""
    return counts(service).get(MemberState.UP.value, 0) > 0


def stoppable(service: Answering) -> bool:
    """Whether members are processes that a fault can be put into."""
    return _processes(service) is not None


def views(service: Answering) -> list[dict[str, Any]]:
    """Each shard with its members, as plain data; several members of a shard are its replicas."""
    gang = _processes(service)
    found = {one.name: one for one in members(service)}
    # By their order: a gang may have its shards under other names than the index.
    replicas = list(gang.replicas.values()) if gang is not None else [(name,) for name in found]
    return [
        {
            "shard": card.name,
            "documents": card.documents,
            "passages": card.vectors,
            "members": [
                {"member": one.name, "state": one.state, "why": one.why, "pid": one.pid}
                for one in map(found.__getitem__, names)
            ],
        }
        for card, names in zip(service.manifest.shards, replicas, strict=False)
    ]


def stop(service: Answering, member: str, lasts_s: float) -> dict[str, Any]:
    """Stop a member's process (SIGSTOP); it goes on by itself after so many seconds.

    Raises:
        Refusal: there is no such member, or it is no process of its own.
    """
    gang = _processes(service)
    if gang is None:
        what = "the shards are threads of the server: none can be stopped"
        raise Refusal(409, what, hint="serve without --in-process", why="drill")
    try:
        landing = gang.inject(Fault(kind=FaultKind.STOP, member=member, at_s=0.0, lasts_s=lasts_s))
    except InputError as error:
        raise Refusal(422, error.what, where="member") from None
    return {"member": member, "landed": landing.landed, "why": landing.why, "lasts_s": lasts_s}
