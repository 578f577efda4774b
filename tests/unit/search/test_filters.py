"""Filters: what they mean, what is refused, and masks that agree with a plain reading of rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sextant.errors import InputError
from sextant.search import filters
from sextant.search.fields import Fields, FieldsWriter
from sextant.search.filters import parse_filter
from sextant.search.rows import Row, Scalar

ROWS: list[dict[str, Scalar]] = [
    {"lang": "en", "year": 2019, "open": True},
    {"lang": "de", "year": 2020, "open": False},
    {"lang": "en", "year": 2020.5},
    {"lang": "fr", "year": 2021, "and": "so"},
    {"year": "2020", "in": 1},
    {},
    {"lang": "", "year": -3, "open": 1},
]


def opened(folder: Path, rows: list[dict[str, Scalar]]) -> Fields:
    writer = FieldsWriter(folder)
    for ordinal, fields in enumerate(rows):
        writer.append(ordinal, Row(f"d{ordinal}", b"", fields))
    writer.finish()
    return Fields(folder)


@pytest.fixture
def fields(tmp_path: Path) -> Fields:
    return opened(tmp_path, ROWS)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"lang": "en"}, [0, 2]),
        ({"lang": "EN"}, []),
        ({"lang": ""}, [6]),
        ({"lang": {"in": ["de", "fr", "de"]}}, [1, 3]),
        ({"lang": {"in": []}}, []),
        ({"year": 2020}, [1]),
        ({"year": 2020.0}, [1]),
        ({"year": "2020"}, [4]),
        ({"year": {"gte": 2020}}, [1, 2, 3]),
        ({"year": {"gt": 2020, "lte": 2020.5}}, [2]),
        ({"year": {"lt": 0}}, [6]),
        ({"year": {"gte": 0, "lt": -1}}, []),
        ({"year": {"gte": ""}}, [4]),
        ({"lang": {"gte": "", "lt": "e"}}, [1, 6]),
        ({"open": True}, [0]),
        ({"open": 1}, [6]),
        ({"open": {"exists": True}}, [0, 1, 6]),
        ({"open": {"exists": False}}, [2, 3, 4, 5]),
        ({"not": {"lang": "en"}}, [1, 3, 4, 5, 6]),
        ({"lang": "en", "year": {"lt": 2020}}, [0]),
        ({"and": [{"lang": "en"}, {"open": True}]}, [0]),
        ({"or": [{"lang": "de"}, {"year": {"gt": 2020}}]}, [1, 2, 3]),
        ({"and": []}, [0, 1, 2, 3, 4, 5, 6]),
        ({"or": []}, []),
        ({"and": "so"}, [3]),
        ({"in": 1}, [4]),
        ({"nothing": 1}, []),
        ({"year": {"gt": 9e18}}, []),
    ],
)
def test_what_a_filter_means(fields: Fields, asked: dict[str, Any], expected: list[int]) -> None:
    for written in (asked, json.dumps(asked)):
        mask_N = parse_filter(written).mask(fields)
        assert [n for n, met in enumerate(mask_N) if met] == expected


def nested(depth: int) -> dict[str, Any]:
    return {"not": nested(depth - 1)} if depth else {"a": 1}


@pytest.mark.parametrize(
    "asked",
    [
        "not json",
        "[" * 100_000,
        "[]",
        "null",
        "7",
        {},
        {"a": None},
        {"a": [1, 2]},
        {"a": {}},
        {"a": {"like": "x"}},
        {"a": {"in": "text"}},
        {"a": {"in": [None]}},
        {"a": {"in": [[1]]}},
        {"a": {"in": [1], "gt": 0}},
        {"a": {"exists": 1}},
        {"a": {"gt": 1, "gte": 2}},
        {"a": {"lt": True}},
        {"a": {"gt": 1, "lt": "z"}},
        {"a": {"gt": None}},
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": 1 << 63},
        {"not": {}},
        {"and": [1]},
        {"and": {"a": {"b": 1}}},
        {1: 2},
        {"a" * 1001: 1},
        {"a": "b" * 1001},
        nested(9),
        nested(400),
        {"or": [{"a": 1}] * 200},
        {"a": {"in": list(range(5000))}},
        {"and": [{"a": {"in": list(range(3000))}}, {"b": {"in": list(range(3000))}}]},
        '{"a": ' + "[" * 800 + "]" * 800 + "}",
        '{"a": "' + "b" * (1 << 20) + '"}',
    ],
    ids=lambda asked: repr(asked)[:30],
)
def test_what_is_no_filter_is_refused_with_an_example(asked: Any) -> None:
    with pytest.raises(InputError) as refused:
        parse_filter(asked, "--filter")
    assert refused.value.where == "--filter"
    assert '{"lang": "en"' in str(refused.value.hint)
    assert len(str(refused.value)) < 400


NAMES = st.sampled_from(["a", "b", "and", "groups"])
VALUES = st.one_of(
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([-(1 << 63), (1 << 63) - 1]),
    st.sampled_from([-1.5, 0.0, 2.0, 1e300, float("inf")]),
    st.sampled_from(["", "a", "b", "é", "\U0001f600", "1"]),
)
SAYABLE = VALUES.filter(lambda value: value != float("inf"))
ORDERED = st.one_of(
    st.tuples(*[st.integers(-3, 3) | st.sampled_from([-1.5, 2.0])] * 2),
    st.tuples(*[st.sampled_from(["", "a", "é", "\U0001f600"])] * 2),
)


def conditions() -> st.SearchStrategy[dict[str, Any]]:
    ranges = st.builds(
        lambda bounds, low, high: {
            **({low: bounds[0]} if low else {}),
            **({high: bounds[1]} if high or not low else {}),
        },
        ORDERED,
        st.sampled_from(["gt", "gte", None]),
        st.sampled_from(["lt", "lte"]),
    )
    said = st.one_of(
        SAYABLE,
        ranges,
        st.builds(lambda values: {"in": values}, st.lists(SAYABLE, max_size=3)),
        st.builds(lambda there: {"exists": there}, st.booleans()),
    )
    leaves = st.dictionaries(NAMES, said, min_size=1, max_size=2)
    return st.recursive(
        leaves,
        lambda parts: st.one_of(
            st.builds(lambda some: {"and": some}, st.lists(parts, max_size=3)),
            st.builds(lambda some: {"or": some}, st.lists(parts, max_size=3)),
            st.builds(lambda part: {"not": part}, parts),
        ),
        max_leaves=4,
    )


def same(one: Scalar, other: Scalar) -> bool:
    kinds = {bool: "bool", int: "number", float: "number", str: "str"}
    return kinds[type(one)] == kinds[type(other)] and one == other


def within(value: Scalar, bounds: dict[str, Any]) -> bool:
    if isinstance(value, bool):
        return False
    if any(isinstance(value, str) != isinstance(bound, str) for bound in bounds.values()):
        return False
    holds = {
        "gt": lambda bound: value > bound,
        "gte": lambda bound: value >= bound,
        "lt": lambda bound: value < bound,
        "lte": lambda bound: value <= bound,
    }
    return all(holds[name](bound) for name, bound in bounds.items())


def meets(row: dict[str, Scalar], asked: dict[str, Any]) -> bool:
    """The language read off its description, row by row."""
    return all(_meets(row, name, said) for name, said in asked.items())


def _meets(row: dict[str, Scalar], name: str, said: Any) -> bool:
    if name in ("and", "or") and isinstance(said, list):
        return (all if name == "and" else any)(meets(row, part) for part in said)
    if name == "not" and isinstance(said, dict):
        return not meets(row, said)
    if not isinstance(said, dict):
        return name in row and same(row[name], said)
    if "exists" in said:
        return (name in row) == said["exists"]
    if name not in row:
        return False
    if "in" in said:
        return any(same(row[name], value) for value in said["in"])
    return within(row[name], said)


@settings(max_examples=300)
@given(rows=st.lists(st.dictionaries(NAMES, VALUES, max_size=3), max_size=12), asked=conditions())
def test_masks_agree_with_reading_every_row(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Scalar]], asked: dict[str, Any]
) -> None:
    columns = opened(tmp_path_factory.mktemp("fields"), rows)
    mask_N = parse_filter(asked).mask(columns)
    assert mask_N.tolist() == [meets(row, asked) for row in rows]


def test_masks_are_kept_and_none_stands_for_all(fields: Fields) -> None:
    asked = parse_filter({"lang": "en"})
    first = fields.allowed(asked, None)
    assert first is fields.allowed(parse_filter('{"lang":   "en"}'), None)
    assert fields.allowed(parse_filter({"and": []}), None) is None
    with pytest.raises(ValueError, match="read-only"):
        first[0] = False  # type: ignore[index]
    for year in range(40):
        fields.allowed(parse_filter({"year": year}), None)
    assert fields.allowed(asked, None).tolist() == first.tolist()  # type: ignore[union-attr]


def test_the_bounds_themselves_are_within() -> None:
    deep: dict[str, Any] = {"a": 1}
    for _ in range(filters.MOST_DEPTH - 1):
        deep = {"not": deep}
    assert parse_filter(deep)
    assert parse_filter({"a": {"in": list(range(filters.MOST_VALUES))}})
    assert parse_filter({"and": [{"a": 1}] * (filters.MOST_CONDITIONS - 1)})
