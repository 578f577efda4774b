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
from sextant.search.cards import ExtraCard, FileCard, SegmentCard
from sextant.search.documents import DocumentsWriter
from sextant.search.fields import FieldsWriter
from sextant.search.kinds import TRAINED_FILE, write_trained
from sextant.search.lexical import LexicalWriter
from sextant.search.manifest import sync_directory
from sextant.search.rows import Row, RowsWriter
from sextant.search.stored import INDEX_FILE, RAW_FILE, gives_back, raw_vectors
from sextant.search.tune import Trial, Tuned, held_rows, open_to_tune, refines_itself
from sextant.search.wire import Floats


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


PARTS: tuple[Callable[[Path], Part], ...] = (RowsWriter, LexicalWriter, FieldsWriter)
"""What every segment has beside its vectors and its directory of documents."""


class SegmentWriter:
    """One segment under construction: its parts, and raw vectors that become a Faiss index."""

    def __init__(self, folder: Path, dims: int) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.vectors = 0
        # Beside the folder, all of whose files are published.
        self._before = folder.with_name(f"{folder.name}.before")
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

    def finish(self, faiss_key: str, trained: Any | None = None) -> None:
        """Write every part and the Faiss index, filled from one that is trained if there is one.

        It may be called again with another key, if the first did not do.

        Raises:
            InputError: the index needs more vectors to train on, or the disk refuses.
        """
        vectors_ND = self.raw()
        held = engine.HeldOut(held_rows(len(vectors_ND)), self._before)
        try:
            self._before.unlink(missing_ok=True)
            engine.write_index(vectors_ND, faiss_key, self.folder / INDEX_FILE, trained, held)
            if trained is not None:
                write_trained(trained, self.folder / TRAINED_FILE)
        except RuntimeError as error:
            raise disk_error(error, self.folder) from error

    def raw(self) -> Floats:
        """The vectors [N, D] that were appended; nothing can be appended any more."""
        if not self._raw.closed:
            self._raw.close()
            for part in self._parts:
                self._about |= part.finish() or {}
        return raw_vectors(self.folder, self._dims)

    def trial(self) -> Trial:
        """The finished index, to tune its searches on; once."""
        vectors_ND = self.raw()
        if self._before.exists():
            rows, index = held_rows(len(vectors_ND)), open_to_tune(self._before)
            self._before.unlink()
            whole = gives_back(self.folder, vectors_ND)
            others_ND = np.delete(vectors_ND, rows, axis=0)
            return Trial(index, others_ND, refined=not whole, held_QD=vectors_ND[rows])
        index = open_to_tune(self.folder / INDEX_FILE)
        whole = gives_back(self.folder, vectors_ND)
        return Trial(index, vectors_ND, refined=refines_itself(index) or not whole)

    def card(self, folder: str, faiss_key: str, tuned: Tuned) -> SegmentCard:
        """Make the files durable, and describe them as they will lie in `folder`."""
        if gives_back(self.folder, self.raw()):
            (self.folder / RAW_FILE).unlink()
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
            recall=tuned.recall,
            tuned=tuned.effort,
            files=files,
            about=self._about,
        )

    def close(self) -> None:
        """Let the files go, finished or not."""
        for part in self._parts:
            part.close()
        self._raw.close()


def extra_card(folder: Path, home: str) -> ExtraCard:
    """Make the owner's own files in a folder durable, and describe them as they will lie in
    `home`.
    """
    files = {}
    for path in sorted(folder.iterdir()):
        sync_file(path)
        files[path.name] = FileCard.of(path)
    sync_directory(folder)
    return ExtraCard(folder=f"{home}/{folder.name}", files=files)


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
