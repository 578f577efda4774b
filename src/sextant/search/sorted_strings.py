"""A sorted list of strings in a memory-mapped file, for looking one up by halving.

Shape suffixes: T strings.
"""

from __future__ import annotations

import mmap
from bisect import bisect_left
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt


def write_strings(stream: BinaryIO, strings: Iterable[bytes]) -> npt.NDArray[np.int64]:
    """Write strings one after the other; returns where each ends [T], counted from the first."""
    ends, at = [], 0
    for string in strings:
        at += stream.write(string)
        ends.append(at)
    return np.array(ends, dtype=np.int64)


def map_file(path: Path) -> mmap.mmap | bytes:
    """A file's bytes, mapped."""
    with path.open("rb") as stream:
        # An empty file cannot be mapped.
        if not stream.seek(0, 2):
            return b""
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


class SortedStrings:
    """Strings that rise, by number and by value.

    Strings are compared as UTF-8, which orders them as their code points do.
    """

    def __init__(
        self, mapped: mmap.mmap | bytes, ends_T: npt.NDArray[np.int64], offset: int = 0
    ) -> None:
        """Strings whose first begins at `offset` of the mapped bytes."""
        self._mapped = mapped
        self._ends_T = ends_T
        self._offset = offset

    def __len__(self) -> int:
        return len(self._ends_T)

    def __getitem__(self, number: int) -> bytes:
        if number >= len(self):
            raise IndexError(number)
        start = int(self._ends_T[number - 1]) if number else 0
        return self._mapped[self._offset + start : self._offset + int(self._ends_T[number])]

    def find(self, string: str) -> int | None:
        """The number of a string; None if it is not in the list."""
        wanted = utf8(string)
        number = bisect_left(self, wanted)
        return number if number < len(self) and self[number] == wanted else None


def utf8(string: str) -> bytes:
    """A string's UTF-8; half of a surrogate pair, which has none, in the same way."""
    return string.encode("utf-8", "surrogatepass")
