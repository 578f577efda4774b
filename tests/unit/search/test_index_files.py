"""An index on disk: checksums, the switch from the old to the new, and damage that is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sextant.errors import InputError
from sextant.fleet import Deadline
from sextant.search.manifest import MANIFEST, Manifest
from sextant.search.placement import shard_of
from sextant.search.searcher import Searcher
from sextant.search.service import open_local
from sextant.search.writer import GENERATIONS, IndexWriter

Build = Callable[..., tuple[Path, Manifest]]


def test_a_manifest_is_read_as_it_was_written(vectors: np.ndarray, build: Build) -> None:
    index_dir, manifest = build(vectors, 3)
    assert Manifest.read(index_dir) == manifest
    assert manifest.documents == 300
    assert manifest.vectors == 600
    files = [path for path in (index_dir / GENERATIONS).rglob("*") if path.is_file()]
    assert manifest.bytes == sum(path.stat().st_size for path in files)


def test_documents_go_to_shards_evenly_and_for_ever() -> None:
    counts = np.bincount([shard_of(f"document {number}", 8) for number in range(8000)])
    assert counts.min() > 850
    # Written down: an index that was built years ago must still be found.
    assert [shard_of(name, 1000) for name in ("a", "stdlib/json", "é")] == [343, 864, 743]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: data[:-1], "torn"),
        (lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:], "corrupt"),
        (None, "torn"),
    ],
)
@pytest.mark.parametrize("name", ["vectors.faiss", "rows.bin", "rows.npy", "documents.npy"])
def test_a_damaged_shard_is_named_and_the_others_serve(
    vectors: np.ndarray,
    build: Build,
    name: str,
    damage: Callable[[bytes], bytes] | None,
    says: str,
) -> None:
    index_dir, manifest = build(vectors, 4)
    path = index_dir / manifest.shards[1].segments[0].folder / name
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    gang = open_local(index_dir, manifest)
    deadline = Deadline.after(10)
    found = Searcher(manifest, gang).search(vectors[:2], k=5, deadline=deadline, space="test-space")
    gang.close()
    assert len(found.missing) == 1
    assert found.missing[0].member == "shard/1"
    assert says in found.missing[0].why
    assert name in found.missing[0].why
    assert found.coverage == pytest.approx(1 - manifest.shards[1].documents / 300)


def test_an_index_whose_every_shard_is_damaged_is_refused(
    vectors: np.ndarray, build: Build
) -> None:
    index_dir, manifest = build(vectors, 1)
    (index_dir / manifest.shards[0].segments[0].folder / "vectors.faiss").write_bytes(b"")
    with pytest.raises(InputError, match="shard/0"):
        open_local(index_dir, manifest)


def test_the_old_index_is_current_until_the_new_one_is_published(
    vectors: np.ndarray, build: Build
) -> None:
    index_dir, old = build(vectors, 2, folder="index")
    with IndexWriter(index_dir, key="c" * 64, dims=32, num_shards=3, space="test-space") as writer:
        assert Manifest.read(index_dir) == old
        open_local(index_dir, old).close()
        new = writer.publish({})
    assert Manifest.read(index_dir) == new
    assert [path.name for path in (index_dir / GENERATIONS).iterdir()] == [new.generation]


def test_the_same_key_may_be_published_again(vectors: np.ndarray, build: Build) -> None:
    _, old = build(vectors, 2, folder="index")
    index_dir, new = build(vectors, 2, folder="index")
    assert new.key == old.key
    assert new.generation != old.generation
    open_local(index_dir, new).close()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": "other/9"}', '{"format": "sextant-index/2", "shards": []}']
)
def test_a_damaged_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(InputError, match=r"manifest|format"):
        Manifest.read(tmp_path)


def test_no_index_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no index here") as raised:
        Manifest.read(tmp_path / "absent")
    assert "rag index" in str(raised.value.hint)


def test_a_manifest_with_unknown_keys_is_refused(vectors: np.ndarray, build: Build) -> None:
    index_dir, _ = build(vectors, 1)
    value = json.loads((index_dir / MANIFEST).read_text())
    (index_dir / MANIFEST).write_text(json.dumps({**value, "surprise": 1}))
    with pytest.raises(InputError, match="damaged"):
        Manifest.read(index_dir)


@pytest.mark.parametrize("key", ["", "Nonsense", "IVF8,"])
def test_an_unknown_faiss_key_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(InputError, match="Faiss knows no index"):
        IndexWriter(tmp_path, key="d", dims=8, num_shards=1, space="s", faiss_key=key)


def test_too_few_vectors_to_train_are_refused(vectors: np.ndarray, build: Build) -> None:
    with pytest.raises(InputError, match="too few to train"):
        build(vectors[:20], 2, "IVF64,Flat")
