"""The fields and groups of a segment's rows, from each value to the rows that have it.

    fields.json    what there is, and where in the other file
    fields.bin     arrays and strings, one after the other

A field's values are kept by kind (truth values, integers, floats, strings), sorted, each with the
rows that have it; so are the groups. One value, or a range of them, is then one stretch of rows: a
mask takes as long as it has rows. Everything is memory-mapped.

Groups are no field: no filter can name them, and who may read what is decided here alone, before
anything is ranked.

Shape suffixes: N rows, V values of a column, M rows of all its values.
"""

from __future__ import annotations

import json
import math
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from sextant.search.filters import Between, Filter, Rows
from sextant.search.rows import Row, Scalar
from sextant.search.selection import Mask
from sextant.search.sorted_strings import SortedStrings, map_file, utf8, write_strings

FIELDS_JSON = "fields.json"
FIELDS_BIN = "fields.bin"
_MASKS_KEPT = 8
_TYPES: dict[str, np.dtype[Any]] = {
    "bool": np.dtype("|i1"),
    "int": np.dtype("<i8"),
    "float": np.dtype("<f8"),
}
_CODES = {"bool": "b", "int": "q", "float": "d"}
_ENDS: np.dtype[Any] = np.dtype("<i8")
_ROWS: np.dtype[Any] = np.dtype("<i4")


def kind_of(value: Scalar) -> str:
    """The kind of a value: bool, int, float or str."""
    # A truth value is an int to Python.
    kinds = ((bool, "bool"), (int, "int"), (float, "float"), (str, "str"))
    return next(name for kind, name in kinds if isinstance(value, kind))


class _ColumnWriter:
    """The values of one kind of one field, as they come."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        # Strings are numbered; of the others a number is the value itself.
        self._numbers: dict[str, int] = {}
        self._values: Any = array(_CODES.get(kind, "q"))
        self._rows = array("i")

    def append(self, row: int, value: Scalar) -> None:
        self._rows.append(row)
        if isinstance(value, str):
            self._values.append(self._numbers.setdefault(value, len(self._numbers)))
        else:
            self._values.append(value)

    def write(self, stream: BinaryIO) -> dict[str, Any]:
        """Write the column; returns where its arrays are."""
        values_M, rows_M = np.array(self._values), np.array(self._rows, _ROWS)
        told: dict[str, Any] = {"kind": self._kind}
        values_V: npt.NDArray[Any]
        if self._kind == "str":
            names = sorted(self._numbers, key=utf8)
            rank_V = np.empty(len(names), np.int64)
            for rank, name in enumerate(names):
                rank_V[self._numbers[name]] = rank
            values_M = rank_V[values_M]
            told["strings"] = stream.tell()
            values_V = write_strings(stream, map(utf8, names))
            counts_V = np.bincount(values_M, minlength=len(names))
        else:
            distinct, counts_V = np.unique(values_M, return_counts=True)
            values_V = distinct.astype(_TYPES[self._kind])
        told["values"] = _write(stream, values_V)
        told["ends"] = _write(stream, np.cumsum(counts_V).astype(_ENDS))
        # Stable, so that the rows of a value stay in their order.
        told["rows"] = _write(stream, rows_M[np.argsort(values_M, kind="stable")])
        return told


class FieldsWriter:
    """Takes in the fields and groups of a segment's rows."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._columns: dict[tuple[str, str], _ColumnWriter] = {}
        self._groups = _ColumnWriter("str")
        self._restricted = array("i")
        self._num_rows = 0

    def append(self, ordinal: int, row: Row) -> None:  # noqa: ARG002
        """Take in the next row."""
        for name, value in row.fields.items():
            if isinstance(value, float) and math.isnan(value):
                continue
            key = name, kind_of(value)
            if key not in self._columns:
                self._columns[key] = _ColumnWriter(key[1])
            self._columns[key].append(self._num_rows, value)
        if row.groups:
            self._restricted.append(self._num_rows)
        for group in dict.fromkeys(row.groups):
            self._groups.append(self._num_rows, group)
        self._num_rows += 1

    def finish(self) -> dict[str, Any] | None:
        """Write the two files."""
        with (self._folder / FIELDS_BIN).open("wb") as stream:
            told = {
                "rows": self._num_rows,
                "restricted": _write(stream, np.array(self._restricted, _ROWS)),
                "groups": self._groups.write(stream),
                "columns": [
                    {"field": name, **column.write(stream)}
                    for (name, _), column in self._columns.items()
                ],
            }
        (self._folder / FIELDS_JSON).write_text(json.dumps(told), encoding="utf-8")
        return None

    def close(self) -> None:
        """Nothing is open."""


class _Column:
    """The values of one kind of one field, read from the file on demand."""

    def __init__(self, mapped: Any, told: dict[str, Any]) -> None:
        self._kind = told["kind"]
        self._values_V: Any = _array(mapped, told["values"], _TYPES.get(self._kind, _ENDS))
        if self._kind == "str":
            self._values_V = SortedStrings(mapped, self._values_V, told["strings"])
        self._ends_V = _array(mapped, told["ends"], _ENDS)
        self.rows_M = _array(mapped, told["rows"], _ROWS)

    def equal(self, value: Scalar) -> Rows:
        key: Any = utf8(value) if isinstance(value, str) else value
        return self._stretch(bisect_left(self._values_V, key), bisect_right(self._values_V, key))

    def between(self, bounds: Between) -> Rows:
        low, high = self._key(bounds.low), self._key(bounds.high)
        first, last = 0, len(self._values_V)
        if low is not None:
            first = (bisect_left if bounds.with_low else bisect_right)(self._values_V, low)
        if high is not None:
            last = (bisect_right if bounds.with_high else bisect_left)(self._values_V, high)
        return self._stretch(first, last)

    @staticmethod
    def _key(bound: Scalar | None) -> Any:
        return utf8(bound) if isinstance(bound, str) else bound

    def _stretch(self, first: int, last: int) -> Rows:
        if last <= first:
            return self.rows_M[:0]
        start = int(self._ends_V[first - 1]) if first else 0
        return self.rows_M[start : int(self._ends_V[last - 1])]


class Fields:
    """The fields and groups of one segment, as the filters and the callers' groups need them."""

    def __init__(self, folder: Path) -> None:
        told = json.loads((folder / FIELDS_JSON).read_text(encoding="utf-8"))
        mapped = map_file(folder / FIELDS_BIN)
        self.num_rows = int(told["rows"])
        self._restricted_M = _array(mapped, told["restricted"], _ROWS)
        self._groups = _Column(mapped, told["groups"])
        self._columns: dict[str, dict[str, _Column]] = {}
        for column in told["columns"]:
            kinds = self._columns.setdefault(column["field"], {})
            kinds[column["kind"]] = _Column(mapped, column)
        self._masks: OrderedDict[tuple[str, tuple[str, ...] | None], Mask | None] = OrderedDict()

    def allowed(self, asked: Filter | None, groups: tuple[str, ...] | None) -> Mask | None:
        """The rows [N] that a caller in these groups may see and that meet the filter.

        A caller without groups sees the rows that everybody may read. Groups of None are those of
        a trusted caller, who sees all. None stands for every row.
        """
        key = (asked.text if asked else "", groups and tuple(sorted(set(groups))))
        if key in self._masks:
            self._masks.move_to_end(key)
        else:
            self._masks[key] = self._allowed(asked, groups)
            if len(self._masks) > _MASKS_KEPT:
                self._masks.popitem(last=False)
        return self._masks[key]

    def equal(self, field: str, value: Scalar) -> list[Rows]:
        """The rows whose field has this value, in pieces; 1 and 1.0 are one value."""
        kinds = self._columns.get(field, {})
        same = {kind_of(value): value}
        if kind_of(value) in ("int", "float"):
            same = {"int": value, "float": value}
        return [column.equal(same[kind]) for kind, column in kinds.items() if kind in same]

    def between(self, field: str, bounds: Between) -> list[Rows]:
        """The rows whose field lies within the bounds, in pieces."""
        strings = isinstance(bounds.low, str) or isinstance(bounds.high, str)
        wanted = ("str",) if strings else ("int", "float")
        kinds = self._columns.get(field, {})
        return [kinds[kind].between(bounds) for kind in wanted if kind in kinds]

    def having(self, field: str) -> list[Rows]:
        """The rows that have the field, in pieces."""
        return [column.rows_M for column in self._columns.get(field, {}).values()]

    def _allowed(self, asked: Filter | None, groups: tuple[str, ...] | None) -> Mask | None:
        mask_N = self.readable(groups)
        if asked is not None:
            met_N = asked.mask(self)
            mask_N = met_N if mask_N is None else mask_N & met_N
        if mask_N is None or mask_N.all():
            return None
        mask_N.flags.writeable = False
        return mask_N

    def readable(self, groups: tuple[str, ...] | None) -> Mask | None:
        """The rows [N] that a caller in these groups may see, as `allowed` without a filter."""
        if groups is None or not len(self._restricted_M):
            return None
        mask_N = np.ones(self.num_rows, bool)
        mask_N[self._restricted_M] = False
        for group in groups:
            mask_N[self._groups.equal(group)] = True
        return mask_N


def _write(stream: BinaryIO, values: npt.NDArray[Any]) -> tuple[int, int]:
    """Write an array where it is aligned; returns where it begins and how many it has."""
    stream.write(b"\0" * (-stream.tell() % 8))
    start = stream.tell()
    stream.write(values.tobytes())
    return start, len(values)


def _array(mapped: Any, place: tuple[int, int], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """An array of the mapped file, seen in place."""
    start, length = place
    if not length:
        return np.empty(0, dtype)
    return np.frombuffer(mapped, dtype, length, start)
