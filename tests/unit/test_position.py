"""The nearest system, the order of what binds, and the reference machine."""

from collections.abc import Callable

import pytest

from sextant.atlas import NAMES
from sextant.axes import AXES, Axis
from sextant.errors import InputError
from sextant.plan.position import Position, find_nearest
from sextant.workload import Workload, parse_workload

Place = Callable[..., Position]


@pytest.fixture
def atlas(place: Place) -> dict[str, Position]:
    return {name: place(name) for name in NAMES}


def named(name: str) -> Workload:
    return parse_workload(f"name = '{name}'\n[corpus]\nrecords = 1", where="test")


def test_moderation_is_nearest_to_web_scale_rag(atlas: dict[str, Position]) -> None:
    nearest = find_nearest(named("live-moderation"), atlas["live-moderation"], atlas)
    assert nearest
    assert (nearest.name, nearest.distance) == ("web-scale-rag", 0)


def test_a_system_of_the_atlas_is_not_its_own_nearest(atlas: dict[str, Position]) -> None:
    for name, position in atlas.items():
        nearest = find_nearest(named(name), position, atlas)
        assert nearest
        assert nearest.name != name
        others = [at for other, at in atlas.items() if other != name]
        assert nearest.distance == min(
            position.coordinates.distance(at.coordinates) for at in others
        )


def test_a_user_s_system_may_sit_exactly_on_one_of_the_atlas(atlas: dict[str, Position]) -> None:
    nearest = find_nearest(named("ours"), atlas["drone-swarm"], atlas)
    assert nearest
    assert (nearest.name, nearest.distance) == ("drone-swarm", 0)


def test_ties_of_distance_are_broken_by_the_ceilings_that_bind(
    atlas: dict[str, Position], place_text: Place
) -> None:
    """Data, inference and coordination stand one from RAG and one from moderation."""
    streams = place_text("[streams]\ncount = 1e6\nbytes_per_s = '1 MB/s'")
    assert streams.coordinates.spread == {Axis.DATA, Axis.INFERENCE, Axis.COORDINATION}
    apart = {
        name: streams.coordinates.distance(at.coordinates)
        for name, at in atlas.items()
        if name in ("web-scale-rag", "live-moderation")
    }
    assert set(apart.values()) == {1}
    nearest = find_nearest(named("ours"), streams, atlas)
    assert nearest
    assert nearest.distance == 1
    flipped = find_nearest(named("ours"), streams, dict(reversed(atlas.items())))
    assert flipped
    mine = {(c.name, c.axis) for c in streams.ceilings}
    theirs = [
        {(c.name, c.axis) for c in atlas[found.name].ceilings} for found in (nearest, flipped)
    ]
    assert len(mine ^ theirs[0]) == len(mine ^ theirs[1])


def test_a_workload_that_one_machine_serves_is_near_nothing(
    atlas: dict[str, Position], place_text: Place
) -> None:
    whole = place_text("[corpus]\nrecords = 10")
    assert not whole.coordinates.spread
    assert whole.binding == "none"
    assert find_nearest(named("ours"), whole, atlas) is None


def test_limits_that_machines_do_not_lift_come_first(place: Place) -> None:
    assert place("federated-imaging").ceilings[0].name == "custody"
    swarm = place("drone-swarm")
    assert [c.name for c in swarm.ceilings] == ["latency", "autonomy", "throughput"]
    assert swarm.ceilings[-1].ratio > swarm.ceilings[0].ratio
    ratios = [c.ratio for c in place("planetary-recommender").ceilings]
    assert ratios == sorted(ratios, reverse=True)


def test_each_whole_axis_says_why(place_text: Place) -> None:
    for mark in place_text("[corpus]\nrecords = 10").marks:
        assert mark.state == "whole"
        assert mark.because


def test_coordination_names_the_axes_that_it_is_the_price_of(place: Place) -> None:
    mark = place("drone-swarm").marks[AXES.index(Axis.COORDINATION)]
    assert mark.because.startswith("inference, intelligence spread over machines")


def test_a_larger_reference_machine_takes_a_point_inwards(place_text: Place) -> None:
    text = "[model]\nparameters = 60e9\n[serving]\nrequests_per_s = 0.01"
    assert Axis.MODEL in place_text(text, machine="h100").coordinates.spread
    assert Axis.MODEL not in place_text(text, machine="b200").coordinates.spread


def test_the_workload_s_own_machine_is_the_reference(place_text: Place) -> None:
    text = "[model]\nparameters = 60e9\n[serving]\nrequests_per_s = 0.01\n[fleet]\nmachine = '{}'"
    assert Axis.MODEL in place_text(text.format("h100")).coordinates.spread
    assert Axis.MODEL not in place_text(text.format("b200")).coordinates.spread


def test_an_unknown_reference_machine_is_wrong_input(place_text: Place) -> None:
    with pytest.raises(InputError, match="no such machine"):
        place_text("[corpus]\nrecords = 1", machine="cray-1")
