"""The rows of a Parquet file as records; runs in the reading process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sextant.errors import InputError, missing_engine
from sextant.systems.rag.records import GROUPS_NAME, Columns

_BATCH_ROWS = 256
# What a footer may claim: a hostile one claims gigabytes.
_MOST_FOOTER_STRING_BYTES = 64 << 20
_MOST_FOOTER_ITEMS = 1_000_000


def read_parquet(path: Path, options: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """First `columns`, those that mean something, then a `record` for each row.

    Raises:
        InputError: no column holds text, or one that was named is not there.
        EngineError: pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise missing_engine("pyarrow", "rag") from None
    pyarrow.set_cpu_count(1)
    file = pyarrow.parquet.ParquetFile(
        path,
        memory_map=False,
        pre_buffer=False,
        thrift_string_size_limit=_MOST_FOOTER_STRING_BYTES,
        thrift_container_size_limit=_MOST_FOOTER_ITEMS,
    )
    schema = file.schema_arrow
    columns = _columns(schema, Columns(**options), pyarrow.types)
    yield "columns", [columns.text, columns.title, columns.id]
    read = [field.name for field in schema if _is_read(field, columns, pyarrow.types)]
    for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=read, use_threads=False):
        for record in batch.to_pylist():
            yield "record", {name: _plain(value) for name, value in record.items()}


def _columns(schema: Any, named: Columns, types: Any) -> Columns:
    """Which column is which: by what was named, by the usual names, or the only one of text."""
    names = list(schema.names)
    for what in (named.text, named.title, named.id):
        if what is not None and what not in names:
            raise InputError(f"has no column {what!r}", hint=f"it has {', '.join(names[:20])}")
    texts = [field.name for field in schema if _is_text(field.type, types)]
    columns = named.found(names)
    text = columns.text or (texts[0] if len(texts) == 1 else None)
    if text is None:
        raise InputError(
            "has no column that is known to hold the text",
            hint=f"--text NAME, one of {', '.join(texts[:20]) or 'none: no column holds strings'}",
        )
    return Columns(text=text, title=columns.title, id=columns.id)


def _is_read(field: Any, columns: Columns, types: Any) -> bool:
    """Whether a column is worth reading: not images, not embeddings."""
    if field.name in (columns.text, columns.title, columns.id, GROUPS_NAME, "metadata"):
        return True
    return bool(
        _is_text(field.type, types)
        or types.is_integer(field.type)
        or types.is_floating(field.type)
        or types.is_boolean(field.type)
        or types.is_decimal(field.type)
        or types.is_temporal(field.type)
    )


def _is_text(kind: Any, types: Any) -> bool:
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
        or (types.is_dictionary(kind) and _is_text(kind.value_type, types))
    )


def _plain(value: Any) -> Any:
    """A value as MessagePack holds it; what has no such form is left to `records` as text."""
    if value is None or isinstance(value, str | bool | float):
        return value
    if isinstance(value, int):
        return value if -(1 << 63) <= value < 1 << 64 else None
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, bytes):
        return None
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
