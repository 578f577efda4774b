"""The map's counts and pairs, against what the textbook's four give by hand."""

from collections.abc import Callable
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from sextant.atlas import BOOK
from sextant.axes import AXES, Coordinates
from sextant.plan.chart import Row, all_pairs, least_similar, most_similar, per_axis
from sextant.plan.position import Position


def book(place: Callable[[str], Position]) -> list[Row]:
    return [Row(name=name, title=name, position=place(name)) for name in BOOK]


def test_every_pair_of_the_book_s_four(place: Callable[[str], Position]) -> None:
    """RAG DMIC, recommender DTMIC, pretraining DTMC, swarm ICA: overlaps counted by hand."""
    pairs = {(p.a, p.b): (p.overlap, p.distance) for p in all_pairs(book(place))}
    rag, recommender, pretraining, swarm = BOOK
    assert pairs == {
        (rag, recommender): (4, 1),
        (rag, pretraining): (3, 2),
        (rag, swarm): (2, 3),
        (recommender, pretraining): (4, 1),
        (recommender, swarm): (2, 4),
        (pretraining, swarm): (1, 5),
    }


def test_most_and_least_alike_with_all_ties(place: Callable[[str], Position]) -> None:
    pairs = all_pairs(book(place))
    rag, recommender, pretraining, swarm = BOOK
    assert [(p.a, p.b) for p in most_similar(pairs)] == [
        (rag, recommender),
        (recommender, pretraining),
    ]
    assert [(p.a, p.b) for p in least_similar(pairs)] == [(pretraining, swarm)]


points = st.frozensets(st.sampled_from(AXES)).map(lambda axes: Coordinates(spread=axes))


def row(name: str, at: Coordinates) -> Row:
    position = Position(coordinates=at, marks=(), ceilings=(), headroom=())
    return Row(name=name, title=name, position=position)


@given(st.lists(points, max_size=7))
def test_counts_and_pairs_agree_with_the_rows(spread: list[Coordinates]) -> None:
    rows = [row(str(i), at) for i, at in enumerate(spread)]
    pairs = all_pairs(rows)
    assert [(p.a, p.b) for p in pairs] == list(combinations([r.name for r in rows], 2))
    assert sum(per_axis(rows).values()) == sum(len(at.spread) for at in spread)
    most, least = most_similar(pairs), least_similar(pairs)
    for pair in pairs:
        assert (pair in most) == all(pair.overlap >= other.overlap for other in pairs)
        assert (pair in least) == all(pair.overlap <= other.overlap for other in pairs)


def test_one_row_and_no_row_have_no_pairs() -> None:
    assert all_pairs([]) == all_pairs([row("one", Coordinates())]) == []
    assert most_similar([]) == least_similar([]) == []
    assert set(per_axis([]).values()) == {0}
