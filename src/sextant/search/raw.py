"""The raw vectors of a segment, read back row by row to score the candidates of a compressed index.

A code of a few bytes finds candidates; the vectors that it was made of, in a file of float32, put
them in order. They are mapped, so that what is asked for often stays in memory and the rest does
not; or, where memory is promised to others, read from the file each time, which leaves nothing
mapped.

Shape suffixes: Q queries, C candidates a query, R rows, D dimensions.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sextant.errors import InputError
from sextant.search.effort import FACTOR, MAPPED
from sextant.search.wire import Floats, Ordinals

_MOST_BYTES = 1 << 19
_LEAST_K = 10
"""A refinement that is tuned at ten hits keeps as many candidates for fewer."""


class RawVectors:
    """The rows of a file of float32, one after the other.

    Args:
        path: the file.
        dims: of a row.
        mapped: map the file; else read the rows that are asked for.

    Raises:
        InputError: the file cannot be opened.
    """

    def __init__(self, path: Path, dims: int, *, mapped: bool) -> None:
        self._dims = dims
        try:
            num = path.stat().st_size // (4 * dims)
            self._mapped_ND = np.memmap(path, "<f4", "r", shape=(num, dims)) if mapped else None
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            raise InputError(f"unreadable vectors: {error}", where=str(path)) from error
        weakref.finalize(self, os.close, self._descriptor)

    def rows(self, rows_R: Ordinals) -> Floats:
        """The vectors [R, D] of some rows."""
        if self._mapped_ND is not None:
            return np.take(self._mapped_ND, rows_R, axis=0)
        vectors_RD: Floats = np.empty((len(rows_R), self._dims), np.float32)
        whole, row_bytes = memoryview(vectors_RD.data).cast("B"), 4 * self._dims
        for place, row in enumerate(rows_R.tolist()):
            start = place * row_bytes
            os.preadv(self._descriptor, [whole[start : start + row_bytes]], row * row_bytes)
        return vectors_RD


@dataclass(frozen=True, slots=True)
class Refinement:
    """Candidates scored again by their raw vectors: `factor` times as many as are wanted."""

    raw: RawVectors
    factor: int

    def num_candidates(self, wanted: int) -> int:
        """How many rows the compressed index is asked for."""
        return self.factor * max(wanted, _LEAST_K)

    def scores(self, queries_QD: Floats, rows_QC: Ordinals) -> Floats:
        """The inner products of candidates with their queries [Q, C]; nonsense for row -1."""
        scores_QC: Floats = np.empty(rows_QC.shape, np.float32)
        num, dims = rows_QC.shape[1], queries_QD.shape[1]
        # Some queries at a time: the candidates of a batch may be megabytes, of every thread.
        step = max(1, _MOST_BYTES // max(1, 4 * num * dims))
        for start in range(0, len(queries_QD), step):
            some = slice(start, start + step)
            rows_SC = rows_QC[some]
            vectors_RD = self.raw.rows(np.maximum(rows_SC, 0).ravel())
            vectors_SCD = vectors_RD.reshape(*rows_SC.shape, dims)
            scores_QC[some] = products(vectors_SCD, queries_QD[some, None, :])
        return scores_QC


def products(vectors: Floats, queries: Floats) -> Floats:
    """Inner products over the last axis, each summed on its own and in one fixed order.

    The bits of one do not depend on its neighbours, as they do in a product of matrices.
    """
    scores: Floats = np.einsum("...d,...d->...", vectors, queries)
    return scores


def refinement(path: Path, dims: int, tuned: Mapping[str, int]) -> Refinement | None:
    """What was tuned for an index with its raw vectors at `path`; None if nothing refines it.

    Raises:
        InputError: the file cannot be opened.
    """
    if FACTOR not in tuned or not path.exists():
        return None
    raw = RawVectors(path, dims, mapped=bool(tuned.get(MAPPED, 1)))
    return Refinement(raw, tuned[FACTOR])
