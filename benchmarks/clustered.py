"""Clustered unit vectors of low local dimension, as embeddings are, and their true neighbours.

The square root of n clusters of unequal size (weights 1 / sqrt(rank)); a centre drawn from a
spectrum that falls as i^-0.7; within a cluster 16 directions of its own, the j-th with a deviation
of j^-0.5; a little noise on all axes; the whole rotated and scaled to unit length. At 1,000,000 x
128 the neighbours of a query have a local dimension of about 18.

Shape suffixes: N vectors, Q queries, D dimensions, K neighbours, C clusters, R directions.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

_RANK, _SPREAD, _NOISE, _CENTRE, _DECAY = 16, 1.0, 0.1, 0.25, 0.7
_BLOCK = 50_000
_SEED_SHAPE, _SEED_TURN, SEED_BASE, SEED_QUERIES = 1, 9, 2, 3


@contextmanager
def workplace(name: str) -> Iterator[Path]:
    """A folder for data and indexes: kept between runs in SEXTANT_BENCH_KEEP, else temporary."""
    if kept := os.environ.get("SEXTANT_BENCH_KEEP"):
        folder = Path(kept) / name
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)


class Clusters:
    """The distribution that N vectors and their queries are drawn from."""

    def __init__(self, num: int, dims: int) -> None:
        dice = np.random.default_rng(_SEED_SHAPE)
        self.dims = dims
        self.num = max(1, round(num**0.5))
        spectrum_D = (np.arange(1, dims + 1) ** -_DECAY).astype(np.float32)
        spectrum_D /= np.sqrt((spectrum_D**2).sum())
        centres_CD = dice.standard_normal((self.num, dims)).astype(np.float32)
        self._centres_CD = centres_CD * spectrum_D * np.float32(_CENTRE)
        bases_CRD = dice.standard_normal((self.num, _RANK, dims)).astype(np.float32) * spectrum_D
        self._bases_CRD = bases_CRD / np.linalg.norm(bases_CRD, axis=2, keepdims=True)
        deviations_R = (np.arange(1, _RANK + 1) ** -0.5).astype(np.float32)
        self._deviations_R = deviations_R * (_SPREAD / np.sqrt((deviations_R**2).sum()))
        weights_C = 1 / np.arange(1, self.num + 1) ** 0.5
        self._weights_C = weights_C / weights_C.sum()
        turn = np.random.default_rng(_SEED_TURN).standard_normal((dims, dims))
        self._turn_DD = np.linalg.qr(turn)[0].astype(np.float32)

    def blocks(self, num: int, seed: int) -> Iterator[np.ndarray[Any, Any]]:
        """So many unit vectors, some thousands [N, D] at a time."""
        dice = np.random.default_rng(seed)
        clusters_N = dice.choice(self.num, num, p=self._weights_C)
        for start in range(0, num, _BLOCK):
            yield self._drawn(dice, clusters_N[start : start + _BLOCK])

    def draw(self, num: int, seed: int) -> np.ndarray[Any, Any]:
        """So many unit vectors [N, D]."""
        return np.concatenate(list(self.blocks(num, seed)))

    def _drawn(
        self, dice: np.random.Generator, clusters_N: np.ndarray[Any, Any]
    ) -> np.ndarray[Any, Any]:
        order_N = np.argsort(clusters_N, kind="stable")
        shape = len(clusters_N), _RANK
        steps_NR = dice.standard_normal(shape).astype(np.float32) * self._deviations_R
        ends = np.searchsorted(clusters_N[order_N], np.arange(self.num + 1))
        vectors_ND = np.empty((len(clusters_N), self.dims), np.float32)
        for cluster in np.unique(clusters_N):
            rows = order_N[ends[cluster] : ends[cluster + 1]]
            steps_ND = steps_NR[rows] @ self._bases_CRD[cluster]
            vectors_ND[rows] = self._centres_CD[cluster] + steps_ND
        noise_ND = dice.standard_normal(vectors_ND.shape).astype(np.float32)
        vectors_ND += noise_ND * np.float32(_NOISE / self.dims**0.5)
        vectors_ND /= np.linalg.norm(vectors_ND, axis=1, keepdims=True)
        turned_ND: np.ndarray[Any, Any] = vectors_ND @ self._turn_DD
        return turned_ND


class DataSet:
    """Vectors in a file, held-out queries, and the true ten of the first of these.

    Attributes:
        path: of the vectors, float32, one after the other.
        queries_QD: drawn as the vectors are, and not among them.
        true_QK: rows of the ten largest inner products of the first `truths` queries.
    """

    def __init__(self, folder: Path, num: int, dims: int, *, queries: int, truths: int) -> None:
        self.num, self.dims = num, dims
        self.path = folder / f"base-{num}x{dims}.f32"
        clusters = Clusters(num, dims)
        if not self.path.exists():
            temporary = self.path.with_suffix(".new")
            with temporary.open("wb") as stream:
                for block_ND in clusters.blocks(num, SEED_BASE):
                    stream.write(block_ND.tobytes())
            temporary.replace(self.path)
        self.queries_QD = clusters.draw(queries, SEED_QUERIES)
        truth = folder / f"truth-{num}x{dims}-{truths}.npy"
        if not truth.exists():
            np.save(truth, self._neighbours(self.queries_QD[:truths]))
        self.true_QK = np.load(truth)

    def mapped(self) -> np.ndarray[Any, Any]:
        """The vectors, mapped."""
        return np.memmap(self.path, np.float32, "r").reshape(-1, self.dims)

    def recall(self, rows_QK: np.ndarray[Any, Any]) -> float:
        """The share of the true ten among the ten rows found for each of the first queries."""
        return recall(rows_QK, self.true_QK)

    def _neighbours(self, queries_QD: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        import faiss

        heap = faiss.ResultHeap(len(queries_QD), 10, keep_max=True)
        base_ND, step = self.mapped(), 500_000
        for start in range(0, self.num, step):
            block_ND = np.ascontiguousarray(base_ND[start : start + step])
            ip = faiss.METRIC_INNER_PRODUCT
            scores_QK, rows_QK = faiss.knn(queries_QD, block_ND, 10, metric=ip)
            heap.add_result(scores_QK, rows_QK + start)
        heap.finalize()
        rows: np.ndarray[Any, Any] = heap.I
        return rows


def recall(rows_QK: np.ndarray[Any, Any], true_QK: np.ndarray[Any, Any]) -> float:
    """The share of true rows among those found."""
    true_QK = true_QK[: len(rows_QK)]
    return float((rows_QK[:, :, None] == true_QK[:, None, :]).any(1).mean())
