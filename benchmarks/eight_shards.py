"""The million vectors in eight shards, batches of 32: against Faiss over the same, and over one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from benchmarks.bench import Figure
from benchmarks.clustered import DataSet, workplace
from benchmarks.million import planned, published
from sextant.fleet import Deadline
from sextant.search import engine
from sextant.search.generations import lease
from sextant.search.nearest import Nearest
from sextant.search.raw import refinement
from sextant.search.segment import Segment
from sextant.search.service import open_local

_NUM, _DIMS, _K, _RECALL = 1_000_000, 128, 10, 0.95
_SHARDS, _BATCH, _SECONDS, _OF_FAISS = 8, 32, 8.0, 0.8
_QUERIES, _TRUTHS = 10_000, 2_000
Rows = np.ndarray[Any, Any]
Search = Callable[[Rows], Rows]


def run() -> list[Figure]:
    """A gang of eight shards, then Faiss with the same files, then one index of all."""
    threads = len(os.sched_getaffinity(0))
    with workplace("million") as folder:
        data = DataSet(folder, _NUM, _DIMS, queries=_QUERIES, truths=_TRUTHS)
        key = planned(threads).key
        eight = published(folder, data, key, _SHARDS, _RECALL)
        one = published(folder, data, key, 1, _RECALL)
        gang_per_s, found = _gang(eight, data)
        engine_per_s, engine_found = _in_process(eight, data, threads)
        one_per_s, one_found = _in_process(one, data, threads)
    return [
        Figure(
            name=f"recall@10 of {_SHARDS} shards, {key}",
            measured=found,
            unit="",
            bar=f"at least {_RECALL}",
            held=found >= _RECALL,
            beside={"Faiss over the same": engine_found, "one index": one_found},
        ),
        Figure(
            name=f"{_SHARDS} shards asked in batches of {_BATCH}",
            measured=gang_per_s,
            unit="/s",
            bar=f"at least {_OF_FAISS} of Faiss IndexShards over the same files, "
            f"{threads} threads, refined alike",
            held=gang_per_s >= _OF_FAISS * engine_per_s,
            beside={
                "Faiss over the same": engine_per_s,
                "one index": one_per_s,
                "share of one index": gang_per_s / one_per_s,
            },
        ),
    ]


def _gang(index_dir: Path, data: DataSet) -> tuple[float, float]:
    """Queries a second, and the recall, of the shards as members."""
    leased = lease(index_dir)
    gang = open_local(index_dir, leased.manifest)
    nearest = Nearest(leased.manifest, gang)

    def search(queries_QD: Rows) -> Rows:
        near = nearest.search(queries_QD, _K, Deadline.after(30))
        assert near.coverage > 0.999, near.coverage
        return near.ordinals_QK

    try:
        return _measured(search, data)
    finally:
        gang.close()
        leased.close()


def _in_process(index_dir: Path, data: DataSet, threads: int) -> tuple[float, float]:
    """The same of Faiss itself, candidates refined by the raw vectors as ours are."""
    leased = lease(index_dir)
    cards = list(leased.manifest.segments())
    indexes = [
        engine.read_index(index_dir / card.folder / "vectors.faiss", card.tuned) for card in cards
    ]
    again = refinement(index_dir / cards[0].folder / "vectors.f32", data.dims, cards[0].tuned)
    assert again is not None
    # Vectors of all shards, in the order of their rows, so that a refinement finds them.
    segments = [Segment(index_dir, card) for card in cards]
    ordinals_N = np.concatenate([segment.rows.ordinals_N for segment in segments])
    raw_ND = np.ascontiguousarray(data.mapped())

    def search(index: Any, num: int, queries_QD: Rows) -> Rows:
        rows_QC = index.search(queries_QD, num)[1]
        rows_QC = ordinals_N[rows_QC]
        vectors_QCD = raw_ND[rows_QC]
        scores_QC = np.einsum("qcd,qd->qc", vectors_QCD, queries_QD)
        best_QK = np.argsort(-scores_QC, axis=1)[:, :_K]
        return np.take_along_axis(rows_QC, best_QK, axis=1)

    found = []
    try:
        for by_shard in (True, False) if len(indexes) > 1 else (False,):
            # A thread a shard, or all threads on one shard after the other: the quicker counts.
            faiss.omp_set_num_threads(1 if by_shard else threads)
            index = _joined(indexes, data.dims, by_shard)
            # Candidates of all shards together: as many as it takes to reach the recall.
            for times in (1, 2, 4, 8):
                wanted = partial(search, index, times * again.num_candidates(_K))
                if _recall(wanted, data) >= _RECALL:
                    break
            found.append(_measured(wanted, data))
    finally:
        faiss.omp_set_num_threads(1)
        leased.close()
    return max(found)


def _joined(indexes: Sequence[Any], dims: int, by_shard: bool) -> Any:
    if len(indexes) == 1:
        return indexes[0]
    joined = faiss.IndexShards(dims, by_shard, True)
    for one in indexes:
        joined.add_shard(one)
    return joined


def _measured(search: Search, data: DataSet) -> tuple[float, float]:
    found = [search(data.queries_QD[start : start + _BATCH]) for start in range(0, _TRUTHS, _BATCH)]
    reached = data.recall(np.concatenate(found)[:_TRUTHS])
    num, begin_s = 0, time.perf_counter()
    while time.perf_counter() - begin_s < _SECONDS:
        at = num % (_QUERIES - _BATCH)
        search(data.queries_QD[at : at + _BATCH])
        num += _BATCH
    return num / (time.perf_counter() - begin_s), reached


def _recall(search: Search, data: DataSet) -> float:
    found = [search(data.queries_QD[start : start + _BATCH]) for start in range(0, _TRUTHS, _BATCH)]
    return data.recall(np.concatenate(found)[:_TRUTHS])
