"""Records with named values (a line of JSON, a row of Parquet) as documents.

Of a record's values one is the text, one may be the title and one the id; `groups` says who may
read it; every other plain value becomes a field, for filters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from sextant.search.rows import Scalar
from sextant.systems.rag.document import Document, Troubles

TEXT_NAMES = ("text", "contents", "content", "body", "passage")
TITLE_NAMES = ("title",)
ID_NAMES = ("_id", "id", "doc_id", "docid")
GROUPS_NAME = "groups"
MOST_FIELDS = 64
MOST_FIELD_CHARS = 1000
"""Fields go with every passage of a document: what is longer is text, and no filter compares it."""
_INT64 = 1 << 63


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """The names of a record's values that mean something; None finds one by its usual name."""

    text: str | None = None
    title: str | None = None
    id: str | None = None

    def found(self, names: Iterable[str]) -> Columns:
        """The columns of records with these names; `text` stays None if none has a usual name."""
        held = list(names)
        return Columns(
            text=self.text or _first(TEXT_NAMES, held),
            title=self.title or _first(TITLE_NAMES, held),
            id=self.id or _first(ID_NAMES, held),
        )


def to_document(
    record: Mapping[str, Any], columns: Columns, unnamed: str, where: str, troubles: Troubles
) -> Document | None:
    """The document in a record, or None with a trouble noted.

    Args:
        record: its values by name.
        columns: which of them mean what; what is None is looked for in this record.
        unnamed: the id if the record has none.
        where: the record, for troubles.
        troubles: hears what was left out.
    """
    columns = columns.found(name for name, value in record.items() if value is not None)
    text = record.get(columns.text) if columns.text is not None else None
    if not isinstance(text, str):
        troubles.note("record without a text, skipped", where)
        return None
    groups = _groups(record.get(GROUPS_NAME))
    if groups is None:
        # Whoever wrote it meant to restrict somebody: nobody sees it rather than everybody.
        troubles.note("record whose groups are no list of names, skipped", where)
        return None
    title = record.get(columns.title) if columns.title is not None else None
    name = record.get(columns.id) if columns.id is not None else None
    spent = {columns.text, columns.title, columns.id, GROUPS_NAME}
    return Document(
        mended(str(name)) if isinstance(name, str | int | float) and name != "" else unnamed,
        mended(title) if isinstance(title, str) else "",
        mended(text),
        _fields(record, spent, where, troubles),
        groups,
    )


def mended(text: str) -> str:
    """Text that can be stored as UTF-8: JSON may carry half of a surrogate pair."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


def _first(wanted: Iterable[str], held: list[str]) -> str | None:
    """The first of the usual names that is there, whatever its case."""
    lower = {name.lower(): name for name in reversed(held)}
    return next((lower[name] for name in wanted if name in lower), None)


def _groups(value: Any) -> tuple[str, ...] | None:
    """The names of the groups; none at all is nobody in particular; None if it is neither."""
    if value is None:
        return ()
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple):
        return None
    if not all(isinstance(name, str) and name for name in names):
        return None
    return tuple(dict.fromkeys(mended(name) for name in names))


def _fields(
    record: Mapping[str, Any], spent: set[str | None], where: str, troubles: Troubles
) -> dict[str, Scalar]:
    fields: dict[str, Scalar] = {}
    metadata = record.get("metadata")
    # Many tools put what is not text into one object beside it.
    more = metadata if isinstance(metadata, Mapping) else {}
    for name, value in (*more.items(), *((n, v) for n, v in record.items() if n not in spent)):
        scalar = _scalar(value)
        if scalar is None or not isinstance(name, str) or not name:
            continue
        if isinstance(scalar, str) and len(scalar) > MOST_FIELD_CHARS:
            troubles.note(f"field over {MOST_FIELD_CHARS} characters, left out", f"{where}: {name}")
        elif len(fields) == MOST_FIELDS:
            troubles.note(f"more than {MOST_FIELDS} fields, the rest left out", where)
            break
        else:
            fields[mended(name)] = scalar
    return fields


def _scalar(value: Any) -> Scalar | None:
    """A value that a filter can compare, or None."""
    if isinstance(value, str):
        return mended(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -_INT64 <= value < _INT64 else None
    if isinstance(value, float | Decimal):
        number = float(value)
        return number if math.isfinite(number) else None
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return None
