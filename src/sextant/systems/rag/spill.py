"""A corpus's chunks in a file: memory stays bounded, and their number is known beforehand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgpack

from sextant.systems.rag.blocks import BLOCK_CHUNKS
from sextant.systems.rag.chunk import Chunk, ChunkRule, chunks
from sextant.systems.rag.document import Corpus, Troubles
from sextant.systems.rag.embed import Embedder
from sextant.systems.rag.progress import Progress


class Spill:
    """The corpus's chunks in a file, in order, with a digest of them all."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.num_chunks = 0
        self.sha256 = ""

    def write(
        self,
        corpus: Corpus,
        embedder: Embedder,
        rule: ChunkRule,
        troubles: Troubles,
        progress: Progress,
    ) -> None:
        """Read the corpus, cut it, and write its chunks."""
        digest = hashlib.sha256()
        with self._path.open("wb") as stream:
            for document in corpus.documents(troubles):
                for chunk in chunks(document, embedder.folder, rule):
                    packed = msgpack.packb(
                        (chunk.document, chunk.title, chunk.start, chunk.end, chunk.text)
                    )
                    digest.update(packed)
                    stream.write(packed)
                    self.num_chunks += 1
                progress.advance()
        self.sha256 = digest.hexdigest()

    def blocks(self) -> Iterator[list[Chunk]]:
        """The chunks that were written, a block at a time."""
        with self._path.open("rb") as stream:
            values = (Chunk(*value) for value in msgpack.Unpacker(stream))
            while block := list(islice(values, BLOCK_CHUNKS)):
                yield block
