"""What belongs to a vector beside the vector: its ordinal, its document and a payload, by row of a
shard.

`rows.bin` holds a MessagePack pair (document, payload) a row, one after the other; `rows.npy`
holds, a row, where its pair ends and its ordinal (its place in the whole index, the last word
between equal scores). Both are memory-mapped: a search touches the rows of its hits and nothing
else.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path

import msgpack
import numpy as np
import numpy.typing as npt

ROWS_BIN = "rows.bin"
ROWS_NPY = "rows.npy"


@dataclass(frozen=True, slots=True)
class Row:
    """The document that a vector comes from, and the owner's own bytes about it."""

    document: str
    payload: bytes


class RowsWriter:
    """Appends rows to the two files of one shard."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stream = (folder / ROWS_BIN).open("wb")
        self._ends: list[int] = []
        self._ordinals: list[int] = []

    def append(self, ordinal: int, row: Row) -> None:
        """Write the next row; ordinals must rise."""
        self._stream.write(msgpack.packb((row.document, row.payload)))
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
        table_2N = np.load(folder / ROWS_NPY, mmap_mode="r")
        self._ends_N: npt.NDArray[np.int64] = table_2N[0]
        self.ordinals_N: npt.NDArray[np.int64] = table_2N[1]
        with (folder / ROWS_BIN).open("rb") as stream:
            # An empty file cannot be mapped; a shard that no document hashed to is a good shard.
            empty = stream.seek(0, 2) == 0
            self._bytes = None if empty else mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self) -> int:
        return len(self._ends_N)

    def packed(self, row: int) -> bytes:
        """The MessagePack pair (document, payload) of a row."""
        assert self._bytes is not None
        start = int(self._ends_N[row - 1]) if row else 0
        return self._bytes[start : int(self._ends_N[row])]

    def close(self) -> None:
        """Let the files go."""
        if self._bytes is not None:
            self._bytes.close()


def unpack_row(packed: bytes) -> Row:
    """The row that `Rows.packed` gave."""
    document, payload = msgpack.unpackb(packed)
    return Row(document, payload)
