"""Embedding in blocks that are kept: a build that was killed goes on where it was.

A block is a run of chunks in the corpus's order. Its vectors are kept in a file named after a
digest of the texts and the model, so that nothing has to be remembered about where a build stood,
and a changed corpus reuses the blocks before the change.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sextant.systems.rag.embed import Embedder, Floats, encode_blocks

BLOCK_CHUNKS = 128


class BlockStore:
    """Vectors of blocks, embedded once."""

    def __init__(self, folder: Path, embedder: Embedder) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._embedder = embedder
        self.num_embedded = 0
        self.num_reused = 0

    def vectors(self, texts: Sequence[str], done: Callable[[int], None]) -> Floats:
        """The texts' vectors [N, D], from the store or made and stored."""
        path = self._folder / f"{self._digest(texts)}.npy"
        if (vectors_ND := self._load(path, len(texts))) is not None:
            self.num_reused += len(texts)
            done(len(texts))
            return vectors_ND
        vectors_ND = encode_blocks(self._embedder, texts, done)
        self.num_embedded += len(texts)
        temporary = path.with_suffix(".new")
        with temporary.open("wb") as stream:
            np.save(stream, vectors_ND)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        return vectors_ND

    def _load(self, path: Path, num: int) -> Floats | None:
        try:
            vectors_ND: Floats = np.load(path)
        except (OSError, ValueError):
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
