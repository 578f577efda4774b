"""Reading text for pretraining: files to documents, documents to pieces.

A piece is what is kept or held back as a whole. Short documents are one piece each; a long one
(a book) is cut at line ends, so that a part of it can be held for validation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sextant.errors import InputError, missing_engine

PIECE_CHARS = 32_768
_SNIFF_BYTES = 8192
_READ_CHARS = 1 << 20
_MAX_LINE_BYTES = 64 << 20
_SUFFIXES = (".txt", ".md", ".jsonl", ".parquet")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Files that are drawn from together.

    `weight` is the source's share of the training samples before normalising; None: its size.
    """

    path: Path
    weight: float | None = None

    @classmethod
    def parse(cls, text: str) -> Source:
        """A source as the command line writes it: `PATH` or `PATH=WEIGHT`.

        Raises:
            InputError: the weight is no positive number.
        """
        path, found, weight = text.rpartition("=")
        if not found or Path(text).exists():
            return cls(path=Path(text))
        try:
            value = float(weight)
        except ValueError:
            value = -1.0
        if not 0 < value < float("inf"):
            raise InputError(f"not a weight: {weight}", where="--text", hint="PATH=0.3")
        return cls(path=Path(path), weight=value)

    def files(self) -> tuple[Path, ...]:
        """The files of the source, in the order of their names.

        Raises:
            InputError: there is nothing to read.
        """
        if self.path.is_file():
            return (self.path,)
        if not self.path.is_dir():
            raise InputError("no such file or folder", where=str(self.path), hint="--text PATH")
        files = sorted(p for p in self.path.rglob("*") if p.suffix in _SUFFIXES and p.is_file())
        if not files:
            kinds = ", ".join(_SUFFIXES)
            raise InputError(f"no file of {kinds}", where=str(self.path), hint="--text PATH")
        return tuple(files)


def pieces(files: Sequence[Path], trouble: Callable[[str], None]) -> Iterator[str]:
    """The pieces of all documents in the files' order; what is no text is told to `trouble`.

    Raises:
        InputError: a file cannot be read, or is binary.
    """
    for path in files:
        for document in _documents(path, trouble):
            yield from _cut(document)


def _cut(chunks: Iterator[str]) -> Iterator[str]:
    """A document's pieces, each but the last of about `PIECE_CHARS` and up to a line's end."""
    held = ""
    for chunk in chunks:
        held += chunk
        while len(held) > 2 * PIECE_CHARS:
            end = held.rfind("\n", PIECE_CHARS // 2, PIECE_CHARS) + 1 or PIECE_CHARS
            yield held[:end]
            held = held[end:]
    while len(held) > PIECE_CHARS + PIECE_CHARS // 2:
        end = held.rfind("\n", PIECE_CHARS // 2, PIECE_CHARS) + 1 or PIECE_CHARS
        yield held[:end]
        held = held[end:]
    if held.strip():
        yield held


def _documents(path: Path, trouble: Callable[[str], None]) -> Iterator[Iterator[str]]:
    try:
        match path.suffix:
            case ".jsonl":
                yield from _of_jsonl(path, trouble)
            case ".parquet":
                yield from _of_parquet(path)
            case _:
                yield _of_text(path)
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror or error}", where=str(path)) from error


def _of_text(path: Path) -> Iterator[str]:
    with path.open("rb") as raw:
        if b"\0" in raw.read(_SNIFF_BYTES):
            raise InputError("a binary file, not text", where=str(path))
    with path.open(encoding="utf-8", errors="replace", newline="") as stream:
        while chunk := stream.read(_READ_CHARS):
            yield chunk


def _of_jsonl(path: Path, trouble: Callable[[str], None]) -> Iterator[Iterator[str]]:
    with path.open("rb") as stream:
        number = 0
        while line := stream.readline(_MAX_LINE_BYTES):
            number += 1
            if len(line) == _MAX_LINE_BYTES and not line.endswith(b"\n"):
                trouble(f"{path}:{number}: a line over {_MAX_LINE_BYTES >> 20} MiB, skipped")
                while (rest := stream.readline(_MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                    pass
                continue
            text = _record_text(line) if line.strip() else ""
            if text is None:
                trouble(f"{path}:{number}: no record with a text, skipped")
            elif text:
                yield iter((text,))


def _record_text(line: bytes) -> str | None:
    try:
        record: Any = json.loads(line.decode("utf-8", errors="replace"))
    except (ValueError, RecursionError):
        return None
    text = record.get("text", record.get("content")) if isinstance(record, dict) else None
    # JSON may carry half of a surrogate pair, which no tokenizer takes.
    return text.encode("utf-8", "replace").decode("utf-8") if isinstance(text, str) else None


def _of_parquet(path: Path) -> Iterator[Iterator[str]]:
    try:
        import pyarrow.parquet as parquet
        from pyarrow import ArrowException
    except ImportError:
        raise missing_engine("pyarrow", "pretraining") from None
    try:
        with parquet.ParquetFile(path) as file:
            column = next((c for c in ("text", "content") if c in file.schema_arrow.names), None)
            if column is None:
                names = ", ".join(file.schema_arrow.names)
                raise InputError(f"no column `text` among {names}", where=str(path))
            for batch in file.iter_batches(batch_size=256, columns=[column]):
                for text in batch.column(0).to_pylist():
                    if isinstance(text, str) and text:
                        yield iter((text,))
    except ArrowException as error:
        raise InputError(f"not a Parquet file: {error}", where=str(path)) from error
