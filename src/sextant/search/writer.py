"""Writing an index: rows to shards by their document, then the shards' files, then the switch.

Nothing is current before it is durable: shards are written under `building/`, synced, renamed into
`generations/`, and only then does the manifest name them. A kill at any instant leaves the old
index or the new one. The generation that was replaced is removed last.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from sextant.errors import InputError
from sextant.search import engine
from sextant.search.manifest import FileCard, Manifest, ShardCard, sync_directory
from sextant.search.placement import shard_name, shard_of
from sextant.search.rows import ROWS_BIN, ROWS_NPY, Row, RowsWriter
from sextant.search.shard import INDEX_FILE
from sextant.search.wire import Floats

BUILDING = "building"
GENERATIONS = "generations"
_RAW = "vectors.f32"
_RECALL_AT = 10
_RECALL_SAMPLE = 64


class _ShardWriter:
    """One shard under construction: rows, and raw vectors that become a Faiss index at the end."""

    def __init__(self, folder: Path, number: int) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.name = shard_name(number)
        self.documents = 0
        self.vectors = 0
        self._rows = RowsWriter(folder)
        self._raw = (folder / _RAW).open("wb")

    def append(self, ordinal: int, row: Row, vector_D: Floats) -> None:
        self._rows.append(ordinal, row)
        self._raw.write(vector_D.tobytes())
        self.vectors += 1

    def finish(self, dims: int, faiss_key: str) -> Floats:
        """Write the Faiss index; returns the shard's vectors [N, D], mapped from the raw file."""
        self._rows.finish()
        self._raw.close()
        raw = self.folder / _RAW
        vectors_ND: Floats = np.empty((0, dims), np.float32)
        if self.vectors:
            vectors_ND = np.memmap(raw, np.float32, "r").reshape(-1, dims)
        engine.write_index(vectors_ND, faiss_key, self.folder / INDEX_FILE)
        return vectors_ND

    def close(self) -> None:
        """Let the files go, finished or not."""
        self._rows.close()
        self._raw.close()

    def card(self, generation: str, dims: int, space: str) -> ShardCard:
        """Make the files durable, and describe them."""
        (self.folder / _RAW).unlink()
        files = {}
        for name in (INDEX_FILE, ROWS_BIN, ROWS_NPY):
            _sync_file(self.folder / name)
            files[name] = FileCard.of(self.folder / name)
        sync_directory(self.folder)
        return ShardCard(
            name=self.name,
            folder=f"{GENERATIONS}/{generation}/{self.folder.name}",
            documents=self.documents,
            vectors=self.vectors,
            dims=dims,
            space=space,
            files=files,
        )


class IndexWriter:
    """Builds one generation of an index and makes it the current one; a context manager.

    Args:
        index_dir: where the index lives; made if absent.
        key: identifies the build; its first characters name the generation.
        dims: of the vectors, which must be float32 and, for cosine, of unit length.
        num_shards: at least 1.
        space: the vector space, as the searcher will name it.
        faiss_key: a Faiss factory string.
    """

    def __init__(
        self,
        index_dir: Path,
        *,
        key: str,
        dims: int,
        num_shards: int,
        space: str,
        faiss_key: str = "Flat",
    ) -> None:
        if num_shards < 1:
            raise InputError(f"an index needs at least 1 shard, not {num_shards}")
        engine.check_key(faiss_key, dims)
        self._dir = index_dir
        self._key = key
        self._dims = dims
        self._space = space
        self._faiss_key = faiss_key
        self._generation = _unused_generation(index_dir, key)
        self._folder = index_dir / BUILDING / f"generation-{self._generation}"
        # Rows are cheap to write again; what is dear (vectors) the owner keeps elsewhere.
        shutil.rmtree(self._folder, ignore_errors=True)
        self._shards = [
            _ShardWriter(self._folder / f"shard-{number:03d}", number)
            for number in range(num_shards)
        ]
        self._last_document: str | None = None
        self._num_rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for shard in self._shards:
            shard.close()

    def add(self, rows: Sequence[Row], vectors_ND: Floats) -> None:
        """Append rows with their vectors; the rows of a document must come one after the other."""
        vectors_ND = np.ascontiguousarray(vectors_ND, dtype=np.float32)
        if vectors_ND.shape != (len(rows), self._dims):
            raise ValueError(f"{len(rows)} rows, vectors of shape {vectors_ND.shape}")
        for row, vector_D in zip(rows, vectors_ND, strict=True):
            shard = self._shards[shard_of(row.document, len(self._shards))]
            if row.document != self._last_document:
                shard.documents += 1
                self._last_document = row.document
            shard.append(self._num_rows, row, vector_D)
            self._num_rows += 1

    def publish(
        self, about: dict[str, Any], progress: Callable[[str], None] | None = None
    ) -> Manifest:
        """Write every shard, make them durable, switch to them, and remove what they replace."""
        recalls = []
        for shard in self._shards:
            vectors_ND = shard.finish(self._dims, self._faiss_key)
            recalls.append(_own_recall(vectors_ND, shard.folder / INDEX_FILE, self._faiss_key))
            if progress is not None:
                progress(shard.name)
        cards = [shard.card(self._generation, self._dims, self._space) for shard in self._shards]
        home = self._dir / GENERATIONS / self._generation
        home.parent.mkdir(exist_ok=True)
        sync_directory(self._folder)
        self._folder.rename(home)
        sync_directory(home.parent)
        manifest = Manifest(
            generation=self._generation,
            key=self._key,
            space=self._space,
            dims=self._dims,
            faiss=self._faiss_key,
            documents=sum(card.documents for card in cards),
            vectors=sum(card.vectors for card in cards),
            index_recall=float(np.average(recalls, weights=[c.vectors + 1e-9 for c in cards])),
            shards=tuple(cards),
            about=about,
        )
        manifest.write(self._dir)
        for old in home.parent.iterdir():
            if old != home:
                shutil.rmtree(old, ignore_errors=True)
        return manifest


def _unused_generation(index_dir: Path, key: str) -> str:
    """A name that no generation has: the current one may have the same key and be damaged."""
    attempt, name = 1, key[:16]
    while (index_dir / GENERATIONS / name).exists():
        attempt += 1
        name = f"{key[:16]}-{attempt}"
    return name


def _own_recall(vectors_ND: Floats, index_file: Path, faiss_key: str) -> float:
    """Recall@10 of a shard's index against exact search, its own vectors (a spread sample) asking.

    Each vector finds itself in any index, so it is left out of both sides.
    """
    if engine.is_exact(faiss_key) or len(vectors_ND) < 2:
        return 1.0
    k = min(_RECALL_AT + 1, len(vectors_ND))
    sample_Q = np.linspace(0, len(vectors_ND) - 1, _RECALL_SAMPLE, dtype=np.int64)
    queries_QD = np.ascontiguousarray(vectors_ND[sample_Q])
    truth_QK = engine.exact_neighbours(vectors_ND, queries_QD, k)
    _, found_QK = engine.search(engine.read_index(index_file), queries_QD, k, exact=False)
    held = wanted = 0
    for own, truth, found in zip(sample_Q, truth_QK, found_QK, strict=True):
        want = set(truth.tolist()) - {int(own)}
        held += len(want & set(found.tolist()))
        wanted += len(want)
    return held / wanted


def _sync_file(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
