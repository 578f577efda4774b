"""What belongs to a vector beside the vector, by row of a shard: its ordinal, its document, its
fields, who may read it, a text and a payload.

`rows.bin` holds a MessagePack tuple (document, payload, fields, groups, text) a row, one after the
other; `rows.npy` holds, a row, where its tuple ends and its ordinal (its place in the whole index,
the last word between equal scores). Both are memory-mapped: a search touches the rows of its hits
and nothing else.
"""

from __future__ import annotations

import mmap
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgpack
import numpy as np
import numpy.typing as npt

from sextant.search.arrays import read_array

ROWS_BIN = "rows.bin"
ROWS_NPY = "rows.npy"

Scalar = str | int | float | bool
"""What a field of a document may be."""


@dataclass(frozen=True, slots=True)
class Row:
    """The document that a vector comes from, and the owner's own bytes about it.

    `fields` are the document's metadata, for filters. `groups` says who may read it: a caller in
    one of them, or everybody where it is empty. `text` is what lexical search reads of the row.
    """

    document: str
    payload: bytes
    fields: Mapping[str, Scalar] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    text: str = ""


class RowsWriter:
    """Appends rows to the two files of one shard."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stream = (folder / ROWS_BIN).open("wb")
        # Eight bytes a number, where a list takes forty.
        self._ends = array("q")
        self._ordinals = array("q")

    def append(self, ordinal: int, row: Row) -> None:
        """Write the next row; ordinals must rise."""
        self._stream.write(pack_row(row))
        self._ends.append(self._stream.tell())
        self._ordinals.append(ordinal)

    def close(self) -> None:
        """Let the file go, finished or not."""
        self._stream.close()

    def finish(self) -> None:
        """Write the table of ends and ordinals."""
        self._stream.close()
        table_2N = np.array([self._ends, self._ordinals], dtype=np.int64).reshape(2, -1)
        np.save(self._folder / ROWS_NPY, table_2N)


class Rows:
    """The rows of one shard, read from their files on demand."""

    def __init__(self, folder: Path) -> None:
        table_2N = read_array(folder / ROWS_NPY)
        self._ends_N: npt.NDArray[np.int64] = table_2N[0]
        self.ordinals_N: npt.NDArray[np.int64] = table_2N[1]
        with (folder / ROWS_BIN).open("rb") as stream:
            # An empty file cannot be mapped; a shard that no document hashed to is a good shard.
            empty = stream.seek(0, 2) == 0
            self._bytes = None if empty else mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self) -> int:
        return len(self._ends_N)

    def packed(self, row: int) -> bytes:
        """A row as `pack_row` made it."""
        assert self._bytes is not None
        start = int(self._ends_N[row - 1]) if row else 0
        return self._bytes[start : int(self._ends_N[row])]

    def close(self) -> None:
        """Let the files go."""
        if self._bytes is not None:
            self._bytes.close()


def pack_row(row: Row) -> bytes:
    """A row in bytes."""
    told = (row.document, row.payload, dict(row.fields), row.groups, row.text)
    return bytes(msgpack.packb(told))


def unpack_row(packed: bytes) -> Row:
    """The row that `pack_row` packed."""
    document, payload, fields, groups, text = msgpack.unpackb(packed)
    return Row(document, payload, fields, tuple(groups), text)
