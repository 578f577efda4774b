"""Coordinates are sets, and distance between them is a metric."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.axes import AXES, Axis, Coordinates

points = st.frozensets(st.sampled_from(AXES)).map(lambda axes: Coordinates(spread=axes))


def test_the_six_axes_stand_in_the_order_of_the_map() -> None:
    assert [axis.value for axis in AXES] == [
        "data",
        "training",
        "model",
        "inference",
        "coordination",
        "intelligence",
    ]


def test_axes_come_out_in_the_order_of_the_map_whatever_the_order_in() -> None:
    at = Coordinates(spread=frozenset({Axis.INTELLIGENCE, Axis.DATA, Axis.MODEL}))
    assert at.axes == (Axis.DATA, Axis.MODEL, Axis.INTELLIGENCE)


def test_an_axis_cannot_be_spread_and_refused() -> None:
    with pytest.raises(ValueError, match="data"):
        Coordinates(spread=frozenset({Axis.DATA}), refused=frozenset({Axis.DATA}))


def test_rag_and_pretraining_share_three_axes_and_differ_in_two() -> None:
    rag = Coordinates(spread=frozenset({Axis.DATA, Axis.MODEL, Axis.INFERENCE, Axis.COORDINATION}))
    job = Coordinates(spread=frozenset({Axis.DATA, Axis.TRAINING, Axis.MODEL, Axis.COORDINATION}))
    assert rag.overlap(job) == 3
    assert rag.distance(job) == 2


def test_a_refused_axis_counts_neither_for_overlap_nor_for_distance() -> None:
    refusing = Coordinates(refused=frozenset({Axis.DATA}))
    assert refusing.distance(Coordinates()) == 0
    assert refusing.overlap(Coordinates(spread=frozenset({Axis.DATA}))) == 0


@given(points, points)
def test_overlap_and_distance_are_symmetric(a: Coordinates, b: Coordinates) -> None:
    assert a.overlap(b) == b.overlap(a)
    assert a.distance(b) == b.distance(a)


@given(points, points)
def test_overlap_and_distance_share_out_both_systems_axes(a: Coordinates, b: Coordinates) -> None:
    assert a.distance(b) + 2 * a.overlap(b) == len(a.spread) + len(b.spread)


@given(points, points, points)
def test_distance_obeys_the_triangle_inequality(
    a: Coordinates, b: Coordinates, c: Coordinates
) -> None:
    assert a.distance(c) <= a.distance(b) + b.distance(c)


@given(points, points)
def test_distance_is_zero_only_between_equal_points(a: Coordinates, b: Coordinates) -> None:
    assert (a.distance(b) == 0) == (a.spread == b.spread)
