"""Lists of packed codes, refined by raw vectors: the kind that the plan takes for many vectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sextant.fleet import Deadline
from sextant.search import engine
from sextant.search.manifest import Manifest
from sextant.search.nearest import Nearest
from sextant.search.service import open_local
from sextant.search.stored import RAW_FILE

Build = Callable[..., tuple[Path, Manifest]]


@pytest.mark.parametrize("key", ["IVF4,PQ16x4fs", "IVF4,Flat"])
def test_shards_share_their_lists_and_find_the_true_neighbours(
    vectors: np.ndarray, build: Build, key: str
) -> None:
    index_dir, manifest = build(vectors, 3, key)
    segments = list(manifest.segments())
    raw = {(index_dir / segment.folder / RAW_FILE).exists() for segment in segments}
    assert raw == {"PQ" in key}
    trained = {segment.files["trained.faiss"].sha256 for segment in segments}
    assert len(trained) == 1
    gang = open_local(index_dir, manifest)
    near = Nearest(manifest, gang).search(vectors[:50], 10, Deadline.after(30))
    gang.close()
    true_QK = np.argsort(-(vectors[:50] @ vectors.T), axis=1, kind="stable")[:, :10]
    found = (near.ordinals_QK[:, :, None] == true_QK[:, None, :]).any(1).mean()
    assert near.coverage == pytest.approx(1.0)
    assert found >= 0.9
    assert near.ordinals_QK[:, 0].tolist() == list(range(50))


def test_lists_that_are_copied_are_not_mapped_beside(vectors: np.ndarray, tmp_path: Path) -> None:
    mapped = {}
    for key in ("IVF4,PQ16x4fs", "IVF4,PQ8"):
        path = tmp_path / f"{len(mapped)}.faiss"
        engine.write_index(vectors, key, path)
        index = engine.read_index(path)
        assert index.ntotal == len(vectors)
        mapped[key] = str(path) in Path("/proc/self/maps").read_text()
    assert mapped == {"IVF4,PQ16x4fs": False, "IVF4,PQ8": True}
