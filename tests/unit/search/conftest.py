"""Small indexes of random vectors, with and without ties."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from sextant.search.manifest import Manifest
from sextant.search.rows import Row
from sextant.search.writer import IndexWriter

Build = Callable[..., tuple[Path, Manifest]]
Publish = Callable[..., tuple[Path, Manifest]]


@pytest.fixture
def vectors() -> np.ndarray:
    """600 unit vectors [600, 32]; rows 50 to 79 are equal, so are 200 and 400."""
    vectors_ND = np.random.default_rng(7).standard_normal((600, 32)).astype(np.float32)
    vectors_ND /= np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    vectors_ND[50:80] = vectors_ND[50]
    vectors_ND[400] = vectors_ND[200]
    return vectors_ND


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Publishes an index; two rows a document."""

    def make(
        vectors_ND: np.ndarray, num_shards: int, faiss_key: str = "Flat", folder: str | None = None
    ) -> tuple[Path, Manifest]:
        index_dir = tmp_path / (folder or f"index-{num_shards}-{faiss_key.replace(',', '-')}")
        rows = [Row(f"doc-{row // 2}", f"row {row}".encode()) for row in range(len(vectors_ND))]
        with IndexWriter(
            index_dir,
            key="a" * 64,
            dims=vectors_ND.shape[1],
            num_shards=num_shards,
            space="test-space",
            faiss_key=faiss_key,
        ) as writer:
            # In pieces, as batches come.
            for start in range(0, len(rows), 128):
                writer.add(rows[start : start + 128], vectors_ND[start : start + 128])
            return index_dir, writer.publish({"made": "by a test"})

    return make


@pytest.fixture
def publish(tmp_path: Path) -> Publish:
    """Publishes rows with their vectors (random ones if none are given) over so many shards."""

    def make(
        rows: Sequence[Row],
        num_shards: int,
        vectors_ND: np.ndarray | None = None,
        faiss_key: str = "Flat",
    ) -> tuple[Path, Manifest]:
        if vectors_ND is None:
            vectors_ND = unit_vectors(len(rows))
        index_dir = tmp_path / f"published-{len(list(tmp_path.iterdir()))}"
        with IndexWriter(
            index_dir,
            key="c" * 64,
            dims=vectors_ND.shape[1],
            num_shards=num_shards,
            space="test-space",
            faiss_key=faiss_key,
        ) as writer:
            writer.add(rows, vectors_ND)
            return index_dir, writer.publish({})

    return make


def unit_vectors(num: int, dims: int = 16) -> np.ndarray:
    """Random unit vectors [num, dims], the same in every run."""
    vectors_ND = np.random.default_rng(11).standard_normal((num, dims)).astype(np.float32)
    return vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)
