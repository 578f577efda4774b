"""Where each document of a published index lies: found by its id, or all of them in order."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sextant.search.arrays import read_array
from sextant.search.cards import SegmentCard
from sextant.search.documents import Documents, Entry
from sextant.search.manifest import Manifest
from sextant.search.placement import shard_of
from sextant.search.rows import Row, Rows, unpack_row


@dataclass(frozen=True, slots=True)
class Place:
    """A document's rows: in which segment of which shard, and its entry there."""

    shard: int
    segment: int
    entry: Entry


class SegmentRows:
    """A segment's rows, the directory of its documents, and which of its rows are deleted."""

    def __init__(self, index_dir: Path, card: SegmentCard) -> None:
        folder = index_dir / card.folder
        self.rows = Rows(folder)
        self.documents = Documents(folder, self.rows)
        self.dead_R = read_tombstones(index_dir, card)

    def lives(self, entry: Entry) -> bool:
        """Whether the rows of this entry are not deleted; a document's rows live or die as one."""
        at = int(np.searchsorted(self.dead_R, entry.first))
        return at == len(self.dead_R) or int(self.dead_R[at]) != entry.first

    def live(self) -> Iterator[tuple[int, int, Row]]:
        """The rows that are not deleted: row number, ordinal, row."""
        for row in live_rows(len(self.rows), self.dead_R):
            yield int(row), int(self.rows.ordinals_N[row]), unpack_row(self.rows.packed(int(row)))

    def close(self) -> None:
        """Let the files go."""
        self.rows.close()


class Directory:
    """The documents of one generation; segments are opened as they are needed."""

    def __init__(self, index_dir: Path, manifest: Manifest) -> None:
        self._dir = index_dir
        self._manifest = manifest
        self._open: dict[tuple[int, int], SegmentRows] = {}

    def segment(self, shard: int, segment: int) -> SegmentRows:
        """The rows of a segment."""
        if (shard, segment) not in self._open:
            card = self._manifest.shards[shard].segments[segment]
            self._open[shard, segment] = SegmentRows(self._dir, card)
        return self._open[shard, segment]

    def find(self, document: str) -> list[Place]:
        """Where the document's rows lie: nowhere if it is not in the index, or deleted."""
        shard = shard_of(document, len(self._manifest.shards))
        return [
            Place(shard, number, entry)
            for number in range(len(self._manifest.shards[shard].segments))
            for entry in self.segment(shard, number).documents.find(document)
            if self.segment(shard, number).lives(entry)
        ]

    def rows(self) -> Iterator[Row]:
        """Every row of the index by rising ordinal, so document by document as they came."""
        parts = [
            self.segment(shard, segment).live()
            for shard, card in enumerate(self._manifest.shards)
            for segment in range(len(card.segments))
        ]
        for _, _, row in heapq.merge(*parts, key=lambda one: one[1]):
            yield row

    def close(self) -> None:
        """Let the files go."""
        for segment in self._open.values():
            segment.close()
        self._open.clear()


def read_tombstones(index_dir: Path, card: SegmentCard) -> npt.NDArray[np.int64]:
    """The rising numbers of a segment's deleted rows."""
    if card.dead is None:
        return np.empty(0, np.int64)
    dead_R: npt.NDArray[np.int64] = read_array(index_dir / card.dead.file, mapped=False)
    return dead_R


def live_rows(num_rows: int, dead_R: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The rising numbers of the rows that are not deleted."""
    allowed_N = np.ones(num_rows, bool)
    allowed_N[dead_R] = False
    return np.flatnonzero(allowed_N)
