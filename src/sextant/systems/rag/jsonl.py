"""Documents in JSON lines: {"_id" or "id", "title", "text", ...}, which is also BEIR's corpus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from sextant.errors import InputError
from sextant.systems.rag.document import Document, Troubles
from sextant.systems.rag.files import decode
from sextant.systems.rag.records import Columns, to_document

MAX_LINE_BYTES = 16 << 20


def read_jsonl(
    path: Path, troubles: Troubles, *, prefix: str = "", columns: Columns | None = None
) -> Iterator[Document]:
    """The documents of a JSONL file in its order; lines that are no document are skipped and noted.

    A record without an id is named after its line, as `file.jsonl:17`.

    Raises:
        InputError: the file cannot be opened.
    """
    for number, record in records(path, troubles):
        unnamed, where = f"{path.name}:{number}", f"{path}:{number}"
        document = to_document(record, columns or Columns(), unnamed, where, troubles)
        if document is not None:
            yield replace(document, id=prefix + document.id)


def records(path: Path, troubles: Troubles) -> Iterator[tuple[int, dict[str, Any]]]:
    """The JSON objects of a file with their line numbers; a line in memory at a time, and none too
    long.

    Raises:
        InputError: the file cannot be opened or read.
    """
    try:
        with path.open("rb") as stream:
            for number, line in _lines(stream, str(path), troubles):
                try:
                    value = json.loads(decode(line, f"{path}:{number}", troubles))
                except (ValueError, RecursionError):
                    troubles.note("line that is not JSON, skipped", f"{path}:{number}")
                    continue
                if isinstance(value, dict):
                    yield number, value
                else:
                    troubles.note("line that is not an object, skipped", f"{path}:{number}")
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", where=str(path)) from error


def _lines(stream: BinaryIO, where: str, troubles: Troubles) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := stream.readline(MAX_LINE_BYTES):
        number += 1
        if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            troubles.note(f"line over {MAX_LINE_BYTES >> 20} MiB, skipped", f"{where}:{number}")
            while (rest := stream.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
        elif line.strip():
            yield number, line
