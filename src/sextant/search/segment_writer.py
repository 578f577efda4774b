"""Writing one segment: each row goes to every part, each part leaves its files in the folder.

Shape suffixes: N rows of a segment, D dimensions.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sextant.errors import InputError
from sextant.search import engine
from sextant.search.cards import FileCard, SegmentCard
from sextant.search.documents import DocumentsWriter
from sextant.search.manifest import sync_directory
from sextant.search.rows import Row, RowsWriter
from sextant.search.stored import INDEX_FILE, RAW_FILE, gives_back, raw_vectors
from sextant.search.wire import Floats

_RECALL_AT = 10
_RECALL_SAMPLE = 64


class Part(Protocol):
    """Writes its own files of a segment. Made with the segment's folder.

    Whatever files it has left there when `finish` returns are published with the segment, each
    with its checksum.
    """

    def append(self, ordinal: int, row: Row) -> None:
        """Take in the next row; ordinals rise, and the rows of a document come together."""
        ...

    def finish(self) -> dict[str, Any] | None:
        """Write what is left; returns what the segment's card should say of it."""
        ...

    def close(self) -> None:
        """Let the files go, finished or not."""
        ...


PARTS: tuple[Callable[[Path], Part], ...] = (RowsWriter,)
"""What every segment has beside its vectors and its directory of documents."""


class SegmentWriter:
    """One segment under construction: its parts, and raw vectors that become a Faiss index."""

    def __init__(self, folder: Path, dims: int) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.vectors = 0
        self._dims = dims
        self._documents = DocumentsWriter(folder)
        self._parts: list[Part] = [self._documents, *(part(folder) for part in PARTS)]
        self._about: dict[str, Any] = {}
        self._raw = (folder / RAW_FILE).open("wb")

    def extend(self, ordinals: Sequence[int], rows: Sequence[Row], vectors_ND: Floats) -> None:
        """Append rows with their vectors."""
        for ordinal, row in zip(ordinals, rows, strict=True):
            for part in self._parts:
                part.append(ordinal, row)
        self._raw.write(np.ascontiguousarray(vectors_ND, dtype="<f4").tobytes())
        self.vectors += len(rows)

    def finish(self, faiss_key: str) -> float:
        """Write every part and the Faiss index; returns the index's own recall@10.

        It may be called again with another key, if the first did not do.

        Raises:
            InputError: the index needs more vectors to train on, or the disk refuses.
        """
        if not self._raw.closed:
            self._raw.close()
            for part in self._parts:
                self._about |= part.finish() or {}
        vectors_ND = raw_vectors(self.folder, self._dims)
        try:
            engine.write_index(vectors_ND, faiss_key, self.folder / INDEX_FILE)
        except RuntimeError as error:
            raise disk_error(error, self.folder) from error
        recall = own_recall(vectors_ND, self.folder / INDEX_FILE, faiss_key)
        if gives_back(self.folder, vectors_ND):
            (self.folder / RAW_FILE).unlink()
        return recall

    def card(self, folder: str, faiss_key: str, recall: float) -> SegmentCard:
        """Make the files durable, and describe them as they will lie in `folder`."""
        files = {}
        for path in sorted(self.folder.iterdir()):
            sync_file(path)
            files[path.name] = FileCard.of(path)
        sync_directory(self.folder)
        return SegmentCard(
            folder=folder,
            documents=self._documents.num_documents,
            vectors=self.vectors,
            faiss=faiss_key,
            recall=recall,
            files=files,
            about=self._about,
        )

    def close(self) -> None:
        """Let the files go, finished or not."""
        for part in self._parts:
            part.close()
        self._raw.close()


def own_recall(vectors_ND: Floats, index_file: Path, faiss_key: str) -> float:
    """Recall@10 of an index against exact search, its own vectors (a spread sample) asking.

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


def sync_file(path: Path) -> None:
    """Make a file's contents durable."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def disk_error(error: OSError | RuntimeError, folder: Path) -> InputError:
    """What to tell whoever wanted an index, of a disk that refuses."""
    if isinstance(error, OSError):
        why, where = error.strerror or str(error), str(error.filename or folder)
    else:
        # Faiss reports a full disk in its own way, with the place in its source.
        why, where = "the disk refuses", str(folder)
    return InputError(
        f"cannot write the index: {why}",
        where=where,
        hint="free some space, or give another folder; the index that was there is as it was",
    )
