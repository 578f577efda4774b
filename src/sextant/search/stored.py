"""The vectors that a segment was made of, read back: what compaction builds the next one from.

Many kinds of Faiss index hold their vectors whole and give them back to the bit; of one that does
not (PQ, SQ, RaBitQ without a flat refinement) the segment keeps the raw vectors in a file beside
it, which no search touches.

Shape suffixes: N rows of a segment, D dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sextant.search import engine
from sextant.search.kinds import packs_codes
from sextant.search.wire import Floats

INDEX_FILE = "vectors.faiss"
RAW_FILE = "vectors.f32"
_BLOCK_ROWS = 16_384
_SAMPLE = 32


def raw_vectors(folder: Path, dims: int) -> Floats:
    """The raw vectors [N, D] of a segment, mapped from their file."""
    raw = folder / RAW_FILE
    if not raw.stat().st_size:
        return np.empty((0, dims), np.float32)
    vectors_ND: Floats = np.memmap(raw, np.float32, "r").reshape(-1, dims)
    return vectors_ND


def gives_back(folder: Path, vectors_ND: Floats) -> bool:
    """Whether a segment's index gives back the vectors that it was made of, to the bit.

    A sample is tried: an index either keeps floats or does not.
    """
    index = engine.read_index(folder / INDEX_FILE)
    if packs_codes(index):
        return False
    index = _reconstructible(index)
    rows = np.unique(np.linspace(0, len(vectors_ND) - 1, _SAMPLE, dtype=np.int64))
    try:
        return all(
            np.array_equal(index.reconstruct(int(row)), vectors_ND[row])
            for row in (rows if len(vectors_ND) else ())
        )
    except RuntimeError:
        return False


def vector_blocks(folder: Path, dims: int) -> Iterator[Floats]:
    """The vectors of a segment in the order of its rows, some thousands at a time."""
    if (folder / RAW_FILE).exists():
        vectors_ND = raw_vectors(folder, dims)
        for start in range(0, len(vectors_ND), _BLOCK_ROWS):
            yield vectors_ND[start : start + _BLOCK_ROWS]
        return
    index = _reconstructible(engine.read_index(folder / INDEX_FILE))
    for start in range(0, index.ntotal, _BLOCK_ROWS):
        yield index.reconstruct_n(start, min(_BLOCK_ROWS, index.ntotal - start))


def _reconstructible(index: Any) -> Any:
    """The index; one of inverted lists must first be told where each row lies."""
    import faiss

    try:
        lists = faiss.extract_index_ivf(index)
    except RuntimeError:
        return index
    lists.make_direct_map()
    return index
