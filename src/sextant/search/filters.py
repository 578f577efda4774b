"""The filter language: conditions on the fields of documents, as small JSON.

    {"lang": "en"}                              the field has this value
    {"lang": {"in": ["en", "de"]}}              one of these values
    {"year": {"gte": 2019, "lt": 2024}}         a range: gt, gte, lt, lte; of numbers or of strings
    {"doi": {"exists": true}}                   the document has the field, or has it not
    {"lang": "en", "year": 2020}                all of them
    {"and": [...]}, {"or": [...]}, {"not": {...}}

Values are strings, numbers and truth values; 1 and 1.0 are equal, 1 and true are not. A document
without the field meets no condition on it, and so meets its `not`. Strings are compared code point
by code point. `and` and `or` before a list, and `not` before an object, are never fields.

A filter knows fields only: who may read a document (its groups) is not among them.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sextant.errors import InputError
from sextant.search.rows import Scalar
from sextant.search.selection import Mask

MOST_DEPTH = 8
MOST_CONDITIONS = 128
MOST_VALUES = 4096
MOST_CHARS = 1000
MOST_TEXT = 1 << 20
"""Bounds on one filter: how deep, how many conditions and values, how long a string and all."""
_RANGES = ("gt", "gte", "lt", "lte")
_INT64 = 1 << 63
_MOST_SHOWN = 60
_WHERE = "filter"
_HINT = 'such as {"lang": "en", "year": {"gte": 2019}}'

Rows = npt.NDArray[np.integer[Any]]


class Columns(Protocol):
    """What evaluating a filter needs of a segment's fields."""

    num_rows: int

    def equal(self, field: str, value: Scalar) -> list[Rows]:
        """The rows whose field has this value, in pieces."""
        ...

    def between(self, field: str, bounds: Between) -> list[Rows]:
        """The rows whose field lies within the bounds, in pieces."""
        ...

    def having(self, field: str) -> list[Rows]:
        """The rows that have the field, in pieces."""
        ...


@dataclass(frozen=True, slots=True)
class Among:
    """The field has one of the values."""

    field: str
    values: tuple[Scalar, ...]

    def mask(self, columns: Columns) -> Mask:
        """The rows [N] that meet it."""
        return _marked(columns, [one for v in self.values for one in columns.equal(self.field, v)])


@dataclass(frozen=True, slots=True)
class Between:
    """The field lies between two numbers or two strings; None is no bound."""

    field: str
    low: Scalar | None
    high: Scalar | None
    with_low: bool
    with_high: bool

    def mask(self, columns: Columns) -> Mask:
        """The rows [N] that meet it."""
        return _marked(columns, columns.between(self.field, self))


@dataclass(frozen=True, slots=True)
class Exists:
    """The document has the field."""

    field: str

    def mask(self, columns: Columns) -> Mask:
        """The rows [N] that meet it."""
        return _marked(columns, columns.having(self.field))


@dataclass(frozen=True, slots=True)
class All:
    """Every part is met; so it is where there is none."""

    parts: tuple[Condition, ...]

    def mask(self, columns: Columns) -> Mask:
        """The rows [N] that meet it."""
        mask_N = np.ones(columns.num_rows, bool)
        for part in self.parts:
            mask_N &= part.mask(columns)
        return mask_N


@dataclass(frozen=True, slots=True)
class Some:
    """At least one part is met."""

    parts: tuple[Condition, ...]

    def mask(self, columns: Columns) -> Mask:
        """The rows [N] that meet it."""
        mask_N = np.zeros(columns.num_rows, bool)
        for part in self.parts:
            mask_N |= part.mask(columns)
        return mask_N


@dataclass(frozen=True, slots=True)
class Not:
    """The part is not met."""

    part: Condition

    def mask(self, columns: Columns) -> Mask:
        """The rows [N] that meet it."""
        return ~self.part.mask(columns)


Condition = Among | Between | Exists | All | Some | Not


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter that was checked; `text` is the JSON that it was made of, on one line."""

    text: str
    condition: Condition

    def mask(self, columns: Columns) -> Mask:
        """The rows [N] that meet it."""
        return self.condition.mask(columns)


def parse_filter(value: str | Mapping[str, Any], where: str = _WHERE) -> Filter:
    """The filter in a JSON text or in the object that it stands for.

    Raises:
        InputError: it is no filter, or larger than a filter may be.
    """
    if isinstance(value, str):
        if len(value) > MOST_TEXT:
            raise InputError(
                f"{len(value)} characters; at most {MOST_TEXT}", where=where, hint=_HINT
            )
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise InputError(f"not JSON: {error}", where=where, hint=_HINT) from error
    condition = _Parser(where).condition(value, 1)
    text = json.dumps(value, separators=(",", ":"))
    if len(text) > MOST_TEXT:
        raise InputError(f"{len(text)} characters; at most {MOST_TEXT}", where=where, hint=_HINT)
    return Filter(text, condition)


class _Parser:
    """Reads one filter, and counts what it holds."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._conditions = 0
        self._values = 0

    def condition(self, value: object, depth: int) -> Condition:
        if depth > MOST_DEPTH:
            raise self._wrong(f"nested more than {MOST_DEPTH} deep")
        if not isinstance(value, Mapping) or not value:
            raise self._wrong(f"{_shown(value)} is no condition")
        parts = tuple(self._member(name, said, depth) for name, said in value.items())
        return parts[0] if len(parts) == 1 else All(parts)

    def _member(self, name: object, said: object, depth: int) -> Condition:
        self._conditions += 1
        if self._conditions > MOST_CONDITIONS:
            raise self._wrong(f"more than {MOST_CONDITIONS} conditions")
        if not isinstance(name, str):
            raise self._wrong(f"{_shown(name)} is no field")
        if name in ("and", "or") and isinstance(said, list | tuple):
            parts = tuple(self.condition(part, depth + 1) for part in said)
            return All(parts) if name == "and" else Some(parts)
        if name == "not" and isinstance(said, Mapping):
            return Not(self.condition(said, depth + 1))
        self._text(name)
        if isinstance(said, Mapping):
            return self._operators(name, said)
        return Among(name, (self._value(said),))

    def _operators(self, field: str, said: Mapping[Any, Any]) -> Condition:
        if set(said) == {"in"} and isinstance(said["in"], list | tuple):
            return Among(field, tuple(self._value(value) for value in said["in"]))
        if set(said) == {"exists"} and isinstance(said["exists"], bool):
            return Exists(field) if said["exists"] else Not(Exists(field))
        if not said or not set(said) <= set(_RANGES):
            raise self._wrong(
                f"{_shown(said)} is no condition on {_shown(field)}: in with a list, exists with "
                f"true or false, or {', '.join(_RANGES)}"
            )
        if {"gt", "gte"} <= set(said) or {"lt", "lte"} <= set(said):
            raise self._wrong(f"two bounds on one side of {_shown(field)}")
        bounds = {name: self._value(bound) for name, bound in said.items()}
        if any(isinstance(bound, bool) for bound in bounds.values()):
            raise self._wrong(f"true and false have no order, in the range of {_shown(field)}")
        if len({isinstance(bound, str) for bound in bounds.values()}) > 1:
            raise self._wrong(f"a number and a string bound {_shown(field)}")
        low, high = (bounds.get(a, bounds.get(b)) for a, b in (("gt", "gte"), ("lt", "lte")))
        return Between(field, low, high, "gte" in bounds, "lte" in bounds)

    def _value(self, value: object) -> Scalar:
        self._values += 1
        if self._values > MOST_VALUES:
            raise self._wrong(f"more than {MOST_VALUES} values")
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, bool):
            return value
        if isinstance(value, int) and -_INT64 <= value < _INT64:
            return value
        if isinstance(value, float) and math.isfinite(value):
            return value
        raise self._wrong(f"{_shown(value)} is no value: a string, a number, true or false")

    def _text(self, text: str) -> str:
        if len(text) > MOST_CHARS:
            raise self._wrong(f"a string of {len(text)} characters; at most {MOST_CHARS}")
        return text

    def _wrong(self, what: str) -> InputError:
        return InputError(what, where=self._where, hint=_HINT)


def _marked(columns: Columns, pieces: list[Rows]) -> Mask:
    mask_N = np.zeros(columns.num_rows, bool)
    for rows in pieces:
        mask_N[rows] = True
    return mask_N


def _shown(value: object) -> str:
    """A part of a filter for a person: briefly, however long or deep it is."""
    text = reprlib.repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
