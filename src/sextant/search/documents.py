"""Which rows of a segment a document has: its directory, for deleting and replacing by id.

`documents.npy` has a line a document, sorted by a hash of its id: where its rows begin, how many
they are, and a digest of them. It is memory-mapped: a look-up is a binary search, and the row that
it finds says whether the id is the one that was meant.
"""

from __future__ import annotations

import hashlib
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sextant.search.arrays import read_array
from sextant.search.rows import Row, Rows, pack_row, unpack_row

DOCUMENTS_NPY = "documents.npy"
_DIGEST_BYTES = 16
_LINE = np.dtype(
    [("hash", "<u8"), ("first", "<i8"), ("rows", "<i8"), ("digest", f"V{_DIGEST_BYTES}")]
)
_PACKED = struct.Struct(f"<Qqq{_DIGEST_BYTES}s")


@dataclass(frozen=True, slots=True)
class Entry:
    """A document's rows in a segment: [first, first + num), and the digest of them."""

    first: int
    num: int
    digest: bytes


class DocumentsWriter:
    """Writes the directory of a segment whose rows come document by document."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines = bytearray()
        self._document: str | None = None
        self._first = 0
        self._row = 0
        self._digest = _new_digest()

    @property
    def num_documents(self) -> int:
        """How many documents have begun."""
        return len(self._lines) // _PACKED.size + (self._document is not None)

    def append(self, ordinal: int, row: Row) -> None:  # noqa: ARG002
        """Take in the next row."""
        if row.document != self._document:
            self._end_document()
            self._document, self._first, self._digest = row.document, self._row, _new_digest()
        self._digest.update(pack_row(row))
        self._row += 1

    def finish(self) -> None:
        """Write the directory."""
        self._end_document()
        lines_N = np.frombuffer(self._lines, dtype=_LINE)
        np.save(self._folder / DOCUMENTS_NPY, lines_N[np.argsort(lines_N["hash"], kind="stable")])

    def close(self) -> None:
        """Nothing is open."""

    def _end_document(self) -> None:
        if self._document is not None:
            told = (_hash(self._document), self._first, self._row - self._first)
            self._lines += _PACKED.pack(*told, self._digest.digest())
        self._document = None


class Documents:
    """The directory of one segment."""

    def __init__(self, folder: Path, rows: Rows) -> None:
        self._lines_N: npt.NDArray[np.void] = read_array(folder / DOCUMENTS_NPY)
        self._rows = rows

    def __len__(self) -> int:
        return len(self._lines_N)

    def find(self, document: str) -> list[Entry]:
        """The document's entries: none, or one, or more where its rows did not come together."""
        wanted, hashes_N = _hash(document), self._lines_N["hash"]
        # Not NumPy's search, which would copy the column out of the lines.
        lines_N = self._lines_N[bisect_left(hashes_N, wanted) : bisect_right(hashes_N, wanted)]
        found = [self._entry(line) for line in lines_N]
        # Two ids may share a hash: the rows know better.
        return [one for one in found if self.id_of(one) == document]

    def entries(self) -> list[Entry]:
        """Every document's entry, by its first row."""
        return sorted((self._entry(line) for line in self._lines_N), key=lambda one: one.first)

    def id_of(self, entry: Entry) -> str:
        """The id of the document with this entry."""
        return unpack_row(self._rows.packed(entry.first)).document

    @staticmethod
    def _entry(line: np.void) -> Entry:
        return Entry(int(line["first"]), int(line["rows"]), bytes(line["digest"]))


def rows_digest(rows: Iterable[Row]) -> bytes:
    """The digest that a document with these rows has in the directory."""
    digest = _new_digest()
    for row in rows:
        digest.update(pack_row(row))
    return digest.digest()


def _new_digest() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=_DIGEST_BYTES)


def _hash(document: str) -> int:
    data = document.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")
