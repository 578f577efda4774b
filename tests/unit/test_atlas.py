"""The atlas: the design's table, and a source for every fact."""

import tomllib
from collections.abc import Callable
from typing import Any

import pytest

from sextant.atlas import BOOK, NAMES, atlas_text
from sextant.axes import AXES, Axis
from sextant.errors import InputError
from sextant.plan.chart import Row, per_axis
from sextant.plan.position import Position
from sextant.workload import parse_workload

Place = Callable[..., Position]

# The design's table. Columns: data, training, model, inference, coordination, intelligence.
TABLE = {
    "web-scale-rag": "● · ● ● ● ·",
    "planetary-recommender": "● ● ● ● ● ·",
    "foundation-pretraining": "● ● ● · ● ·",
    "drone-swarm": "· · · ● ● ●",
    "federated-imaging": "⊘ ● · · ● ·",
    "live-moderation": "● · ● ● ● ·",
    "agentic-rag": "● · ● ● ● ●",
    "diloco-pretraining": "● ● ● · ● ·",
    "moe-serving": "· · ● ● ● ·",
}


def row_of(position: Position) -> str:
    states = {mark.axis: mark.state for mark in position.marks}
    return " ".join({"spread": "●", "refused": "⊘", "whole": "·"}[states[axis]] for axis in AXES)


def test_the_atlas_holds_the_systems_of_the_table_in_its_order() -> None:
    assert tuple(TABLE) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_system_comes_out_where_the_design_has_it(place: Place, name: str) -> None:
    position = place(name)
    assert row_of(position) == TABLE[name]
    assert position.coordinates.spread == {
        axis for axis, mark in zip(AXES, TABLE[name].split(), strict=True) if mark == "●"
    }


@pytest.mark.parametrize(
    ("axis", "systems"),
    [
        (Axis.DATA, 3),
        (Axis.TRAINING, 2),
        (Axis.MODEL, 3),
        (Axis.INFERENCE, 3),
        (Axis.COORDINATION, 4),
        (Axis.INTELLIGENCE, 1),
    ],
)
def test_of_the_book_s_four_so_many_spread_an_axis(place: Place, axis: Axis, systems: int) -> None:
    rows = [Row(name=name, title=name, position=place(name)) for name in BOOK]
    assert per_axis(rows)[axis] == systems


@pytest.mark.parametrize("name", NAMES)
def test_each_mark_says_why_in_one_sentence_with_its_ratio(place: Place, name: str) -> None:
    for mark in place(name).marks:
        assert mark.because
        assert "\n" not in mark.because
        if mark.state == "spread":
            assert mark.ratio is not None
            assert mark.ratio > 1
            assert mark.because.endswith("x"), mark.because
        elif mark.ratio is not None:
            assert mark.ratio <= 1


@pytest.mark.parametrize(
    ("name", "ceiling", "ratio"),
    [
        ("web-scale-rag", "data", 30.72e12 / 2e12),
        ("drone-swarm", "latency", 0.130 / 0.050),
        ("federated-imaging", "custody", 20.0),
    ],
)
def test_the_ceiling_that_binds_most(place: Place, name: str, ceiling: str, ratio: float) -> None:
    binding = place(name).ceilings[0]
    assert (binding.name, binding.ratio) == (ceiling, pytest.approx(ratio))


def stated(document: dict[str, Any], path: str = "") -> list[str]:
    """The facts of a TOML document as `table.field`."""
    found = []
    for key, value in document.items():
        dotted = f"{path}.{key}" if path else key
        found += stated(value, dotted) if isinstance(value, dict) else [dotted]
    return found


def facts_of(name: str) -> tuple[list[str], dict[str, str]]:
    document = tomllib.loads(atlas_text(name))
    sources = document.pop("sources")
    for prose in ("name", "title", "does"):
        assert document.pop(prose)
    return stated(document), sources


@pytest.mark.parametrize("name", NAMES)
def test_every_fact_of_the_atlas_has_a_source(name: str) -> None:
    given, sources = facts_of(name)
    bare = [fact for fact in given if not any(f"{fact}.".startswith(f"{s}.") for s in sources)]
    assert not bare


@pytest.mark.parametrize("name", NAMES)
def test_every_source_is_of_a_fact_that_is_stated(name: str) -> None:
    given, sources = facts_of(name)
    idle = [
        source for source in sources if not any(f"{g}.".startswith(f"{source}.") for g in given)
    ]
    assert not idle


@pytest.mark.parametrize("name", NAMES)
def test_a_source_names_a_work_or_says_what_is_assumed_and_why(name: str) -> None:
    for fact, source in facts_of(name)[1].items():
        if source.startswith("assumption"):
            assert source.startswith("assumption: "), fact
            assert len(source) >= len("assumption: ") + 8, fact
        else:
            assert len(source) >= 12, fact


@pytest.mark.parametrize("name", NAMES)
def test_an_atlas_file_is_named_as_its_system(name: str) -> None:
    workload = parse_workload(atlas_text(name), where=name)
    assert workload.name == name
    assert workload.title
    assert 20 < len(workload.does) < 200


def test_a_misspelt_system_is_met_with_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        atlas_text("web-scale-rug")
    assert caught.value.hint == "did you mean atlas:web-scale-rag?"


def test_a_name_cannot_reach_out_of_the_atlas() -> None:
    with pytest.raises(InputError):
        atlas_text("../atlas/web-scale-rag")
