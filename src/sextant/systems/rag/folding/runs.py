"""Signatures of documents that were kept, so that a later one finds its near-duplicates among them.

A run is a number of documents with, for each band, their order by that band: a look-up is a binary
search. It never changes; runs are merged into larger ones. On disk it is a few arrays that are
memory-mapped, about 450 bytes a document.

Shape suffixes: N documents of a run, Q documents that look, S slots, B bands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sextant.search.arrays import read_array
from sextant.systems.rag.folding.sign import NUM_BANDS, NUM_SLOTS, Bands, Signatures

_ARRAYS = ("slots", "bands", "order", "marks", "id_ends")
_IDS = "ids.bin"
# A band that thousands share is boilerplate; the whole signature is what decides, so look at few.
_MOST_A_BAND = 16
MARK = np.dtype([("digest", "V16"), ("content", "<u8"), ("audience", "<u8")])
"""Of a document: the digest of its rows, and hashes of what it says and of whom it is for."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A document that was kept, as a run remembers it."""

    id: str
    slots_S: Signatures
    digest: bytes
    content: int
    audience: int


class Run:
    """Some documents that were kept.

    Args:
        slots_NS: their signatures.
        bands_BN: each band's values in rising order.
        order_BN: which document each of these is of.
        marks_N: an item of `MARK` a document.
        ids: their ids as UTF-8, one after the other.
        id_ends_N: where each of them ends.
    """

    def __init__(
        self,
        slots_NS: Signatures,
        bands_BN: Bands,
        order_BN: npt.NDArray[np.uint32],
        marks_N: npt.NDArray[np.void],
        ids: npt.NDArray[np.uint8],
        id_ends_N: npt.NDArray[np.int64],
    ) -> None:
        self._slots_NS = slots_NS
        self._bands_BN = bands_BN
        self._order_BN = order_BN
        self._marks_N = marks_N
        self._ids = ids
        self._id_ends_N = id_ends_N

    def __len__(self) -> int:
        return len(self._slots_NS)

    @classmethod
    def of(cls, documents: Sequence[Kept], bands_NB: Bands) -> Run:
        """A run of these documents."""
        ids = [one.id.encode("utf-8", "surrogatepass") for one in documents]
        marks = [(one.digest, one.content, one.audience) for one in documents]
        slots_NS = np.array([one.slots_S for one in documents], np.uint16)
        return cls(
            slots_NS.reshape(-1, NUM_SLOTS),
            *_sorted(bands_NB),
            np.array(marks, MARK),
            np.frombuffer(b"".join(ids), np.uint8),
            np.cumsum([len(one) for one in ids], dtype=np.int64),
        )

    @classmethod
    def read(cls, folder: Path) -> Run:
        """The run that `write` left in a folder, mapped."""
        arrays = [read_array(folder / f"{name}.npy") for name in _ARRAYS]
        slots_NS, bands_BN, order_BN, marks_N, id_ends_N = arrays
        empty = not (folder / _IDS).stat().st_size
        ids = np.empty(0, np.uint8) if empty else np.memmap(folder / _IDS, np.uint8, "r")
        return cls(slots_NS, bands_BN, order_BN, marks_N, ids, id_ends_N)

    def write(self, folder: Path) -> None:
        """Leave the run in a folder."""
        held: tuple[npt.NDArray[Any], ...] = (
            self._slots_NS,
            self._bands_BN,
            self._order_BN,
            self._marks_N,
            self._id_ends_N,
        )
        for name, array in zip(_ARRAYS, held, strict=True):
            np.save(folder / f"{name}.npy", array)
        (folder / _IDS).write_bytes(self._ids.tobytes())

    def document(self, line: int) -> Kept:
        """The document in a line."""
        start = int(self._id_ends_N[line - 1]) if line else 0
        name = self._ids[start : int(self._id_ends_N[line])].tobytes()
        mark = self._marks_N[line]
        return Kept(
            name.decode("utf-8", "surrogatepass"),
            self._slots_NS[line],
            bytes(mark["digest"]),
            int(mark["content"]),
            int(mark["audience"]),
        )

    def near(self, bands_QB: Bands) -> list[set[int]]:
        """For each document that looks, the lines that share a band with it, some of each band."""
        found: list[set[int]] = [set() for _ in bands_QB]
        for band in range(NUM_BANDS):
            values_N, order_N = self._bands_BN[band], self._order_BN[band]
            begin_Q = np.searchsorted(values_N, bands_QB[:, band], side="left")
            end_Q = np.searchsorted(values_N, bands_QB[:, band], side="right")
            for looking in np.flatnonzero(end_Q > begin_Q):
                begin = int(begin_Q[looking])
                end = min(int(end_Q[looking]), begin + _MOST_A_BAND)
                found[looking].update(order_N[begin:end].tolist())
        return found

    def bands(self) -> Bands:
        """The bands [N, B] of the documents, in their own order."""
        bands_NB = np.empty((len(self), NUM_BANDS), np.uint64)
        for band in range(NUM_BANDS):
            bands_NB[self._order_BN[band], band] = self._bands_BN[band]
        return bands_NB

    def lines(self) -> Iterator[Kept]:
        """The documents, in their own order."""
        return (self.document(line) for line in range(len(self)))


def merged(runs: Sequence[Run]) -> Run:
    """One run of the documents of several, in their order."""
    id_ends, shift = [], 0
    for run in runs:
        id_ends.append(run._id_ends_N + shift)
        shift += len(run._ids)
    return Run(
        np.concatenate([run._slots_NS for run in runs]),
        *_sorted(np.concatenate([run.bands() for run in runs])),
        np.concatenate([run._marks_N for run in runs]),
        np.concatenate([run._ids for run in runs]),
        np.concatenate(id_ends),
    )


def empty_run() -> Run:
    """A run of no documents."""
    return Run.of([], np.empty((0, NUM_BANDS), np.uint64))


def _sorted(bands_NB: Bands) -> tuple[Bands, npt.NDArray[np.uint32]]:
    """Each band's values in rising order, equal ones in the order of the documents."""
    order_BN = np.argsort(bands_NB.T, axis=1, kind="stable")
    return np.take_along_axis(bands_NB.T, order_BN, axis=1), order_BN.astype(np.uint32)
