"""Where processes go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sextant.fleet.placement import Node, place

NODES = [Node(name, name) for name in ("a", "b", "c")]


def placed(members: int, replicas: int, nodes: list[Node]) -> list[tuple[str, str]]:
    taken: list[tuple[str, str]] = []
    for member in range(members):
        for _ in range(replicas):
            node = place(f"shard/{member}", nodes, taken)
            taken.append((node.name, f"shard/{member}"))
    return taken


@given(st.integers(1, 12), st.integers(1, 5), st.integers(1, 4))
def test_replicas_are_apart_and_nodes_are_even(members: int, replicas: int, count: int) -> None:
    nodes = [Node(str(n), str(n)) for n in range(count)]
    taken = placed(members, replicas, nodes)
    for member in range(members):
        mine = [node for node, other in taken if other == f"shard/{member}"]
        assert len(set(mine)) == min(replicas, count)
    loads = [sum(node.name == where for where, _ in taken) for node in nodes]
    assert max(loads) - min(loads) <= 1


def test_a_node_where_nobody_is_heard_of_comes_last() -> None:
    taken = [("a", "shard/0"), ("b", "shard/1"), ("b", "shard/2")]
    assert place("shard/3", NODES, taken).name == "c"
    assert place("shard/3", NODES, taken, doubtful={"c"}).name == "a"
    assert place("shard/3", NODES[:1], taken, doubtful={"a"}).name == "a"
