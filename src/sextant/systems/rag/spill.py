"""A corpus's chunks in a file: memory stays bounded, and their number is known beforehand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Self

import msgpack

from sextant.systems.rag.chunk import Chunk

_READ_BYTES = 1 << 20
# A chunk carries at most the rest of one document.
_MOST_CHUNK_BYTES = 1 << 30


class Spill:
    """Chunks in a file, in order, with a digest of them all; a context manager while it is
    written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._digest = hashlib.sha256()
        self._stream = path.open("wb")
        self.num_chunks = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    @property
    def sha256(self) -> str:
        """The digest of what was written so far."""
        return self._digest.hexdigest()

    def extend(self, chunks: Sequence[Chunk]) -> None:
        """Write more chunks."""
        for chunk in chunks:
            packed = _packed(chunk)
            self._digest.update(packed)
            self._stream.write(packed)
        self.num_chunks += len(chunks)

    def windows(self, num_chunks: int) -> Iterator[list[Chunk]]:
        """The chunks that were written, so many at a time."""
        self._stream.flush()
        with self._path.open("rb") as stream:
            unpacker = msgpack.Unpacker(
                stream, read_size=_READ_BYTES, max_buffer_size=_MOST_CHUNK_BYTES
            )
            values = (_unpacked(value) for value in unpacker)
            while window := list(islice(values, num_chunks)):
                yield window


def _packed(chunk: Chunk) -> bytes:
    told = (
        chunk.document,
        chunk.title,
        chunk.start,
        chunk.end,
        chunk.text,
        chunk.rest,
        chunk.gap,
        dict(chunk.fields),
        chunk.groups,
    )
    return bytes(msgpack.packb(told))


def _unpacked(value: list[Any]) -> Chunk:
    document, title, start, end, text, rest, gap, fields, groups = value
    return Chunk(document, title, start, end, text, rest, gap, fields, tuple(groups))
