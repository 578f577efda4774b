"""Kinds of Faiss index by their factory key: made, checked and trained.

A kind that must be trained is trained once, on a sample of the whole index, and every shard is
filled from a copy: the shards share one coarse quantizer and one code book, so that a query finds
the same lists in each and splitting an index costs little recall and little time.

Shape suffixes: S rows of a sample, D dimensions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sextant.errors import InputError, missing_engine
from sextant.search.wire import Floats

TRAINED_FILE = "trained.faiss"
"""An index that is trained and empty, beside the segment that was filled from it."""

_ROWS_A_CENTROID = 64
_LEAST_TRAINING_ROWS = 65_536
_MOST_TRAINING_ROWS = 1 << 20
_ROUNDS = 10


def faiss_module() -> Any:
    """Faiss.

    Raises:
        EngineError: it is not installed.
    """
    try:
        import faiss
    except ImportError:
        raise missing_engine("faiss", "rag") from None
    return faiss


def is_exact(key: str) -> bool:
    """Whether a factory key names exact search over whole vectors."""
    return key == "Flat"


def make(key: str, dims: int) -> Any:
    """An empty index of a kind.

    Raises:
        InputError: Faiss knows no such index of these dimensions.
    """
    faiss = faiss_module()
    try:
        index = faiss.index_factory(dims, key, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise InputError(
            f"Faiss knows no index {key!r} for {dims} dimensions",
            hint="such as Flat, HNSW32, IVF256,Flat or IVF1024,PQ64x4fs",
        ) from error
    if (lists := inverted_lists(index)) is not None:
        _settle(faiss, lists)
    elif isinstance(index, faiss.IndexPQ):
        index.pq.cp.min_points_per_centroid = 1
    return index


def inverted_lists(index: Any) -> Any | None:
    """The inverted lists of an index; None if it has none."""
    faiss = faiss_module()
    try:
        return faiss.downcast_index(faiss.extract_index_ivf(index))
    except RuntimeError:
        return None


def packs_codes(index: Any) -> bool:
    """Whether the index packs codes of many rows together (fast scan): it gives no vector back.

    Asked for one, Faiss 1.15 reads beyond a memory-mapped list and the process dies.
    """
    faiss = faiss_module()
    lists = inverted_lists(index)
    return isinstance(
        faiss.downcast_index(index) if lists is None else lists,
        faiss.IndexFastScan | faiss.IndexIVFFastScan,
    )


def training_rows(index: Any) -> int:
    """How many rows of a sample an untrained index is trained on; 0 if it needs none."""
    if index.is_trained:
        return 0
    lists = inverted_lists(index)
    wanted = _ROWS_A_CENTROID * (lists.nlist if lists is not None else 1)
    return int(min(max(wanted, _LEAST_TRAINING_ROWS), _MOST_TRAINING_ROWS))


def train(sample_SD: Floats, key: str) -> Any:
    """A trained, empty index.

    Raises:
        InputError: the kind needs more vectors to be trained on.
    """
    index = make(key, sample_SD.shape[1])
    if index.is_trained:
        return index
    try:
        index.train(np.ascontiguousarray(sample_SD, dtype=np.float32))
    except RuntimeError as error:
        raise InputError(
            f"{len(sample_SD)} vectors are too few to train {key!r}", hint="--faiss Flat"
        ) from error
    return index


def write_trained(index: Any, path: Path) -> None:
    """Write a trained, empty index to a file."""
    faiss_module().write_index(index, str(path))


def read_trained(folder: Path) -> Any | None:
    """The trained, empty index that a segment was filled from; None if its kind needs none."""
    path = folder / TRAINED_FILE
    return faiss_module().read_index(str(path)) if path.exists() else None


def _settle(faiss: Any, lists: Any) -> None:
    """Settings that a factory key does not carry."""
    lists.cp.niter = _ROUNDS
    lists.cp.max_points_per_centroid = 4 * _ROWS_A_CENTROID
    # Faiss warns below 39 rows a centroid; how many there are is settled here.
    lists.cp.min_points_per_centroid = 1
    if isinstance(lists, faiss.IndexIVFPQFastScan):
        # Codes of what is left after the centroid: at equal bytes, recall@10 of 100 candidates
        # 0.95 where codes of whole vectors have 0.90.
        lists.by_residual = True
    if isinstance(lists, faiss.IndexIVFPQ | faiss.IndexIVFPQFastScan):
        lists.pq.cp.min_points_per_centroid = 1
