"""What is searched at random is in the cache before it is searched, where there is room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sextant.search import resident
from sextant.search.manifest import Manifest
from sextant.search.shard import Shard
from sextant.search.stored import INDEX_FILE

Build = Callable[..., tuple[Path, Manifest]]


def _read_bytes() -> int:
    """What this process has read from files so far."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(lines[0].removeprefix("rchar:"))


def test_a_file_is_read_from_end_to_end_where_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, size = tmp_path / "file", 9_000_000
    path.write_bytes(bytes(size))
    before = _read_bytes()
    resident.read_in(path)
    assert _read_bytes() - before >= size
    monkeypatch.setattr(resident, "_available_bytes", lambda: 3 * size)
    before = _read_bytes()
    resident.read_in(path)
    assert _read_bytes() - before < size
    resident.read_in(tmp_path / "none")


def test_a_shard_reads_its_index_in_when_it_is_opened(
    vectors: np.ndarray, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    index_dir, manifest = build(vectors, 1)
    asked: list[str] = []
    monkeypatch.setattr("sextant.search.segment.read_in", lambda path: asked.append(path.name))
    Shard(index_dir, manifest.shards[0])
    assert INDEX_FILE in asked
