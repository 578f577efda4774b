"""Who keeps the fleet: decided by every asker for itself from what it hears, with one outcome.

Nothing here reads a clock or sends a word. Two that cannot hear each other may both keep: each
starts what it misses, under epochs of its own term. Once they hear each other the later term
stands, and whoever was started twice is told to leave.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """What one asker knows of another, or of itself.

    Attributes:
        rank: when it came, and its name: the lower one goes first.
        term: the highest term that it knows of.
        keeping: whether it keeps the fleet.
        standing: whether it would.
        alive: whether it is heard now.
    """

    rank: tuple[int, str]
    term: int
    keeping: bool
    standing: bool
    alive: bool = True


def elect(me: Candidate, others: Iterable[Candidate]) -> Candidate:
    """What I am from now on.

    A keeper keeps until it hears one of a later term (or of the same and a lower rank). Without
    a keeper the first of those who stand by takes over, and begins the next term.
    """
    heard = [other for other in others if other.alive]
    highest = max([me.term, *(other.term for other in heard)])
    keepers = [other for other in heard if other.keeping]
    if me.keeping:
        beaten = any((-o.term, o.rank) < (-me.term, me.rank) for o in keepers)
        return replace(me, keeping=not beaten, term=highest)
    first = all(me.rank < other.rank for other in heard if other.standing)
    if me.standing and first and not keepers:
        return replace(me, keeping=True, term=highest + 1)
    return replace(me, term=highest)
