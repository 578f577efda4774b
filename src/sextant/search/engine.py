"""Faiss, behind three functions: make an index, read one, and search it with a total order.

Shape suffixes: N rows of a shard, Q queries, D dimensions, K hits a query, C candidates a query.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sextant.errors import InputError, missing_engine
from sextant.search.wire import Floats

# Candidates beyond k that an exact search looks at, so that rounding seldom asks for a second
# round.
_SPARE = 8
# Faiss sums a product in another order in a batch than alone; scores nearer than this may swap
# places.
_ROUNDING = 1e-5
_TRAINING_ROWS = 262_144


def _faiss() -> Any:
    try:
        import faiss
    except ImportError:
        raise missing_engine("faiss", "rag") from None
    return faiss


def use_one_thread() -> None:
    """One Faiss thread: shards are the parallelism, and a pool a shard would fight over the
    cores.
    """
    _faiss().omp_set_num_threads(1)


def is_exact(key: str) -> bool:
    """Whether a Faiss factory key names exact search over whole vectors."""
    return key == "Flat"


def check_key(key: str, dims: int) -> None:
    """Refuse a factory key that Faiss does not know, before hours of embedding.

    Raises:
        InputError: Faiss cannot make this index with these dimensions.
    """
    faiss = _faiss()
    try:
        faiss.index_factory(dims, key, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise InputError(
            f"Faiss knows no index {key!r} for {dims} dimensions",
            hint="such as Flat, HNSW32, IVF256,Flat or IVF256,PQ48x4fs,RFlat",
        ) from error


def write_index(vectors_ND: Floats, key: str, path: Path) -> None:
    """Train a Faiss index on a shard's vectors, fill it, and write it to `path`.

    Raises:
        InputError: the index needs more vectors to train on than the shard has.
    """
    faiss = _faiss()
    index = faiss.index_factory(vectors_ND.shape[1], key, faiss.METRIC_INNER_PRODUCT)
    if not index.is_trained:
        step = max(1, -(-len(vectors_ND) // _TRAINING_ROWS))
        try:
            index.train(np.ascontiguousarray(vectors_ND[::step]))
        except RuntimeError as error:
            raise InputError(
                f"{len(vectors_ND)} vectors in a shard are too few to train {key!r}",
                hint="fewer shards, or --faiss Flat",
            ) from error
    for start in range(0, len(vectors_ND), 65_536):
        index.add(np.ascontiguousarray(vectors_ND[start : start + 65_536]))
    faiss.write_index(index, str(path))


def read_index(path: Path) -> Any:
    """The Faiss index in a file; its vectors are memory-mapped where the kind of index allows it.

    Raises:
        InputError: the file is not a Faiss index.
    """
    faiss = _faiss()
    try:
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise InputError("not a Faiss index", where=str(path)) from error


def search(
    index: Any, queries_QD: Floats, k: int, *, exact: bool
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """The K best rows of each query: (scores_QK, rows_QK), row -1 where there are fewer.

    Order is by falling score, then by rising row, so equal scores always come in the same order. An
    exact index scores its candidates again, each product summed on its own and in one fixed order:
    the scores of a row do not depend on which other rows share its shard or which queries share its
    batch, and N shards give the one-shard answer to the bit.
    """
    queries_QD = np.ascontiguousarray(queries_QD)
    wanted = min(k, index.ntotal)
    if not exact:
        scores_QC, rows_QC = index.search(queries_QD, max(wanted, 1))
        return _ordered(scores_QC, rows_QC, k)
    vectors_ND = _flat_vectors(index)
    num = min(wanted + _SPARE, index.ntotal)
    while True:
        scores_QC, rows_QC = _faiss_search(index, queries_QD, num)
        # If the last candidate scores as the k-th does, one left out may tie with it: look further.
        if num == index.ntotal or not len(scores_QC):
            break
        if np.all(scores_QC[:, wanted - 1] - scores_QC[:, -1] > _ROUNDING):
            break
        num = min(4 * num, index.ntotal)
    scores_QC = np.multiply(vectors_ND[rows_QC], queries_QD[:, None, :]).sum(axis=-1)
    return _ordered(scores_QC, rows_QC, k)


def exact_neighbours(vectors_ND: Floats, queries_QD: Floats, k: int) -> npt.NDArray[np.int64]:
    """The rows of the K largest inner products of each query [Q, K], by exact search."""
    _, rows_QK = _faiss().knn(
        queries_QD, np.ascontiguousarray(vectors_ND), k, metric=_faiss().METRIC_INNER_PRODUCT
    )
    rows: npt.NDArray[np.int64] = rows_QK
    return rows


def _faiss_search(index: Any, queries_QD: Floats, num: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    if num == 0:
        Q = len(queries_QD)
        return np.empty((Q, 0), np.float32), np.empty((Q, 0), np.int64)
    scores_QC, rows_QC = index.search(queries_QD, num)
    return scores_QC, rows_QC


def _flat_vectors(index: Any) -> Floats:
    """The vectors of a flat index, seen in place."""
    if index.ntotal == 0:
        return np.empty((0, index.d), np.float32)
    vectors: Floats = _faiss().rev_swig_ptr(index.get_xb(), index.ntotal * index.d)
    return vectors.reshape(index.ntotal, index.d)


def _ordered(
    scores_QC: Floats, rows_QC: npt.NDArray[np.int64], k: int
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """The first K candidates by (falling score, rising row), Faiss's own fillers last."""
    scores_QC = np.where(rows_QC < 0, -np.inf, scores_QC).astype(np.float32)
    order_QC = np.lexsort((rows_QC, -scores_QC), axis=-1)[:, :k]
    return (
        np.take_along_axis(scores_QC, order_QC, axis=1),
        np.take_along_axis(rows_QC, order_QC, axis=1),
    )
