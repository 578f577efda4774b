"""Embedding in blocks that are kept: a build that was killed goes on where it was.

A block is a number of chunks of like length, out of a window of neighbours in the corpus's order.
Its vectors are kept in a file named after a digest of the texts and the model, so that nothing has
to be remembered about where a build stood, and a changed corpus reuses the windows before the
change.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from sextant.search.arrays import read_array
from sextant.systems.rag.chunk import Chunk
from sextant.systems.rag.embed import Embedder, Floats

BLOCK_CHUNKS = 128
WINDOW_BLOCKS = 8
"""Blocks are cut out of so many neighbours, sorted by length: in texts of stdlib, of 170 tokens,
padding is then 3% of all tokens, in place of 7% within one block alone."""


class Encoder(Protocol):
    """Makes the vectors of blocks, of several at once if it says so."""

    @property
    def num_at_once(self) -> int:
        """How many blocks it works on side by side."""
        ...

    def encode(self, texts: Sequence[str]) -> Floats:
        """Unit vectors [N, D] of the texts; called from `num_at_once` threads."""
        ...


class OwnEncoder:
    """An embedder of this process: a block at a time, on all cores."""

    num_at_once = 1

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def encode(self, texts: Sequence[str]) -> Floats:
        """See `Encoder`."""
        return self._embedder.encode(texts)


class BlockStore:
    """Vectors of blocks, embedded once.

    Attributes:
        num_embedded: texts that were embedded by this store.
        num_reused: texts whose vectors an earlier run has left.
    """

    def __init__(self, folder: Path, embedder: Embedder, encoder: Encoder) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.encoder = encoder
        self._folder = folder
        self._embedder = embedder
        self._lock = threading.Lock()
        self._own: set[str] = set()
        self.num_embedded = 0
        self.num_reused = 0

    def vectors(self, texts: Sequence[str]) -> Floats:
        """The texts' vectors [N, D], from the store or made and stored; from any thread."""
        digest = self._digest(texts)
        path = self._folder / f"{digest}.npy"
        if (vectors_ND := self._load(path, len(texts))) is not None:
            with self._lock:
                # The same texts may come twice in one run: that is no work of an earlier one.
                self.num_reused += len(texts) if digest not in self._own else 0
            return vectors_ND
        prompt = self._embedder.folder.document_prompt
        vectors_ND = self.encoder.encode([f"{prompt}{text}" for text in texts])
        temporary = path.with_suffix(f".{threading.get_ident()}.new")
        with temporary.open("wb") as stream:
            np.save(stream, vectors_ND)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        with self._lock:
            self._own.add(digest)
            self.num_embedded += len(texts)
        return vectors_ND

    def _load(self, path: Path, num: int) -> Floats | None:
        try:
            vectors_ND: Floats = read_array(path, mapped=False)
        except (OSError, ValueError, EOFError):
            return None
        good = vectors_ND.shape == (num, self._embedder.dims) and vectors_ND.dtype == np.float32
        return vectors_ND if good and bool(np.isfinite(vectors_ND).all()) else None

    def _digest(self, texts: Sequence[str]) -> str:
        folder = self._embedder.folder
        digest = hashlib.sha256()
        for part in (folder.fingerprint, self._embedder.number_format, str(folder.max_tokens)):
            digest.update(f"{part}\0".encode())
        for text in texts:
            data = text.encode("utf-8")
            digest.update(len(data).to_bytes(8, "big") + data)
        return digest.hexdigest()[:40]


@dataclass(frozen=True, slots=True)
class _Window:
    """Chunks whose blocks are being embedded: which of the chunks each block holds."""

    chunks: list[Chunk]
    blocks: list[tuple[list[int], Future[Floats]]]


def embedded(
    windows: Iterable[list[Chunk]], store: BlockStore, dims: int, done: Callable[[int], None]
) -> Iterator[tuple[list[Chunk], Floats]]:
    """Each window with its chunks' vectors [N, D], in order.

    Windows are read ahead, so that whoever works at several blocks always has the next.

    Args:
        windows: chunks in the corpus's order.
        store: keeps and makes vectors.
        dims: of a vector.
        done: hears of every block that is done.
    """
    at_once = store.encoder.num_at_once
    ahead: deque[_Window] = deque()
    pool = ThreadPoolExecutor(at_once, "embed-block")
    try:
        for chunks in windows:
            ahead.append(_begun(chunks, store, pool))
            if sum(len(one.blocks) for one in ahead) > 2 * at_once + WINDOW_BLOCKS:
                yield _ended(ahead.popleft(), dims, done)
        while ahead:
            yield _ended(ahead.popleft(), dims, done)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begun(chunks: list[Chunk], store: BlockStore, pool: ThreadPoolExecutor) -> _Window:
    texts = [chunk.embedded for chunk in chunks]
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    blocks = [order[start : start + BLOCK_CHUNKS] for start in range(0, len(order), BLOCK_CHUNKS)]
    return _Window(
        chunks,
        [
            (block, pool.submit(store.vectors, [texts[place] for place in block]))
            for block in blocks
        ],
    )


def _ended(window: _Window, dims: int, done: Callable[[int], None]) -> tuple[list[Chunk], Floats]:
    vectors_ND = np.empty((len(window.chunks), dims), np.float32)
    for block, future in window.blocks:
        vectors_ND[block] = future.result()
        done(len(block))
    return window.chunks, vectors_ND
