"""On which node a process goes: replicas of one member apart, then as evenly as can be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the fleet: its name there, and the address at which its processes listen."""

    name: str
    host: str


def place(
    member: str,
    nodes: Sequence[Node],
    taken: Collection[tuple[str, str]],
    doubtful: Collection[str] = (),
) -> Node:
    """The node for one more process of a member.

    A node where nobody is heard of comes last, then one that has a replica of the same member,
    then the fuller one; of equals the first, so that the same fleet is placed the same way.

    Args:
        member: its logical name.
        nodes: those that live; at least one.
        taken: (node, member) of every process that is there.
        doubtful: nodes that have members, all of them silent.
    """
    siblings = Counter(node for node, other in taken if other == member)
    total = Counter(node for node, _ in taken)
    return min(nodes, key=lambda n: (n.name in doubtful, siblings[n.name], total[n.name], n.name))
