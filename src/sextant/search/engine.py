"""Faiss, behind three functions: make an index, read one, and search it with a total order.

Shape suffixes: N rows of a shard, Q queries, D dimensions, K hits a query, C candidates a query.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sextant.errors import InputError
from sextant.search.effort import is_plain_graph, set_effort
from sextant.search.kinds import faiss_module, make, train, training_rows
from sextant.search.raw import Refinement, products
from sextant.search.selection import Mask, by_scan, parameters
from sextant.search.wire import Floats

# Candidates beyond k that an exact search looks at, so that rounding seldom asks for a second
# round.
_SPARE = 8
# Faiss sums a product in another order in a batch than alone; scores nearer than this may swap
# places.
_ROUNDING = 1e-5
_BLOCK_ROWS = 65_536
# How the file of inverted lists for fast scan begins (Faiss, impl/index_write.cpp).
_FAST_SCAN = b"IwPf"


def use_one_thread() -> None:
    """One Faiss thread: shards are the parallelism, and a pool a shard would fight over the
    cores.
    """
    faiss_module().omp_set_num_threads(1)


def check_key(key: str, dims: int) -> None:
    """Refuse a factory key that Faiss does not know, before hours of embedding.

    Raises:
        InputError: Faiss cannot make this index with these dimensions.
    """
    make(key, dims)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Rows that a graph gets last, and where it is written as it was before."""

    rows: npt.NDArray[np.int64]
    path: Path


def write_index(
    vectors_ND: Floats,
    key: str,
    path: Path,
    trained: Any | None = None,
    held_out: HeldOut | None = None,
) -> None:
    """Fill a Faiss index with a shard's vectors, and write it to `path`.

    `trained` is what `kinds.train` made for the whole index; without it the shard's own vectors
    train it. A graph is also written without the rows that are held out: nothing else asks it as
    fair a question as a vector that it has never met.

    Raises:
        InputError: the index needs more vectors to train on than the shard has.
    """
    faiss = faiss_module()
    index = make(key, vectors_ND.shape[1]) if trained is None else faiss.clone_index(trained)
    if not index.is_trained:
        index = train(sample(vectors_ND, training_rows(index)), key)
    if held_out is not None and is_plain_graph(index):
        _write_around(index, vectors_ND, path, held_out)
        return
    _fill(index, vectors_ND, np.arange(len(vectors_ND)))
    faiss.write_index(index, str(path))


def _write_around(index: Any, vectors_ND: Floats, path: Path, held_out: HeldOut) -> None:
    """Fill a graph with all but some rows, write that too, then add these, each in its place."""
    faiss = faiss_module()
    others = np.delete(np.arange(len(vectors_ND)), held_out.rows)
    _fill(index, vectors_ND, others)
    faiss.write_index(index, str(held_out.path))
    _fill(index, vectors_ND, held_out.rows)
    index.permute_entries(np.argsort(np.concatenate([others, held_out.rows])))
    faiss.write_index(index, str(path))


def _fill(index: Any, vectors_ND: Floats, rows: npt.NDArray[np.int64]) -> None:
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = vectors_ND[rows[start : start + _BLOCK_ROWS]]
        index.add(np.ascontiguousarray(block))


def sample(vectors_ND: Floats, num: int) -> Floats:
    """So many rows, evenly spread; all if there are not more."""
    step = max(1, -(-len(vectors_ND) // max(1, num)))
    return np.ascontiguousarray(vectors_ND[::step])


def read_index(path: Path, tuned: Mapping[str, int] | None = None) -> Any:
    """The Faiss index in a file; its vectors are memory-mapped where the kind of index allows it.

    The lists of a fast scan are copied as they are read, and a map of the file would stay beside
    the copy: they are read without one.

    Args:
        path: the file.
        tuned: the effort of a search, by Faiss's own names (`nprobe`, `efSearch`).

    Raises:
        InputError: the file is not a Faiss index.
    """
    faiss = faiss_module()
    try:
        with path.open("rb") as stream:
            copied = stream.read(len(_FAST_SCAN)) == _FAST_SCAN
        index = faiss.read_index(str(path), 0 if copied else faiss.IO_FLAG_MMAP_IFC)
    except (OSError, RuntimeError) as error:
        raise InputError("not a Faiss index", where=str(path)) from error
    set_effort(index, tuned or {})
    return index


def search(
    index: Any,
    queries_QD: Floats,
    k: int,
    *,
    exact: bool,
    allowed_N: Mask | None = None,
    again: Refinement | None = None,
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """The K best rows of each query: (scores_QK, rows_QK), row -1 where there are fewer.

    Order is by falling score, then by rising row, so equal scores always come in the same order. An
    exact index scores its candidates again, each product summed on its own and in one fixed order:
    the scores of a row do not depend on which other rows share its shard or which queries share its
    batch, and N shards give the one-shard answer to the bit.

    Rows where `allowed_N` is False are never candidates: the scan itself leaves them out. `again`
    finds more candidates than are wanted, and orders them by their raw vectors.
    """
    queries_QD = np.ascontiguousarray(queries_QD)
    num_rows = index.ntotal if allowed_N is None else int(np.count_nonzero(allowed_N))
    wanted = min(k, num_rows)
    if again is not None and not exact and wanted:
        num = min(again.num_candidates(wanted), num_rows)
        _, rows_QC = _candidates(index, queries_QD, num, allowed_N)
        return _ordered(again.scores(queries_QD, rows_QC), rows_QC, k)
    if not exact or not wanted:
        return _ordered(*_candidates(index, queries_QD, wanted, allowed_N), k)
    vectors_ND = _flat_vectors(index)
    num = min(wanted + _SPARE, num_rows)
    while True:
        scores_QC, rows_QC = _candidates(index, queries_QD, num, allowed_N)
        # If the last candidate scores as the k-th does, one left out may tie with it: look further.
        if num == num_rows or not len(scores_QC):
            break
        if np.all(scores_QC[:, wanted - 1] - scores_QC[:, -1] > _ROUNDING):
            break
        num = min(4 * num, num_rows)
    scores_QC = products(vectors_ND[rows_QC], queries_QD[:, None, :])
    return _ordered(scores_QC, rows_QC, k)


def vectors_of(index: Any, rows_C: npt.NDArray[np.int64], *, exact: bool) -> Floats:
    """The vectors [C, D] of given rows, as the index keeps them."""
    if not len(rows_C):
        return np.empty((0, index.d), np.float32)
    if exact:
        return _flat_vectors(index)[rows_C]
    try:
        vectors_CD: Floats = index.reconstruct_batch(rows_C)
    except RuntimeError:
        # Inverted lists must first be told where each row lies: once, at eight bytes a row.
        faiss_module().extract_index_ivf(index).make_direct_map()
        vectors_CD = index.reconstruct_batch(rows_C)
    return vectors_CD


def exact_neighbours(vectors_ND: Floats, queries_QD: Floats, k: int) -> npt.NDArray[np.int64]:
    """The rows of the K largest inner products of each query [Q, K], by exact search."""
    _, rows_QK = faiss_module().knn(
        queries_QD, np.ascontiguousarray(vectors_ND), k, metric=faiss_module().METRIC_INNER_PRODUCT
    )
    rows: npt.NDArray[np.int64] = rows_QK
    return rows


def _candidates(
    index: Any, queries_QD: Floats, num: int, allowed_N: Mask | None
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Faiss's own C best rows of each query among those allowed, in its own order."""
    if num == 0:
        Q = len(queries_QD)
        return np.empty((Q, 0), np.float32), np.empty((Q, 0), np.int64)
    if allowed_N is None:
        scores_QC, rows_QC = index.search(queries_QD, num)
        return scores_QC, rows_QC
    faiss = faiss_module()
    index = by_scan(faiss, index, int(np.count_nonzero(allowed_N))) or index
    params = parameters(faiss, index, allowed_N)
    if params is None:
        return _widened(index, queries_QD, num, allowed_N)
    scores_QC, rows_QC = index.search(queries_QD, num, params=params)
    return scores_QC, rows_QC


def _widened(
    index: Any, queries_QD: Floats, num: int, allowed_N: Mask
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """For indexes that take no selector: ask for more until enough of them are allowed."""
    asked = num
    while True:
        asked = min(4 * asked, index.ntotal)
        scores_QC, rows_QC = index.search(queries_QD, asked)
        allowed_QC = (rows_QC >= 0) & allowed_N[rows_QC]
        if asked == index.ntotal or np.all(np.count_nonzero(allowed_QC, axis=1) >= num):
            break
    rows_QC = np.where(allowed_QC, rows_QC, -1)
    return scores_QC, rows_QC


def _flat_vectors(index: Any) -> Floats:
    """The vectors of a flat index, seen in place."""
    if index.ntotal == 0:
        return np.empty((0, index.d), np.float32)
    vectors: Floats = faiss_module().rev_swig_ptr(index.get_xb(), index.ntotal * index.d)
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
