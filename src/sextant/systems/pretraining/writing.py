"""Writing the shards of one part: appended, made durable on `save`, cut back on resume."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sextant.systems.pretraining.tokenizer import Ids
from sextant.systems.pretraining.tokens import ShardCard, sha256_of


class PartWriter:
    """Appends pieces to the shards `NAME-00000`, `NAME-00001`, ... of one part.

    Args:
        folder: where the shards lie.
        name: the part's.
        dtype: of the ids on disk.
        shard_tokens: a new shard is begun beyond it, at a piece's end.
        saved: what `save` returned, to go on from there.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        dtype: str,
        shard_tokens: int,
        saved: dict[str, Any] | None = None,
    ) -> None:
        self.name = name
        self._folder = folder
        self._dtype = np.dtype(dtype)
        self._shard_tokens = shard_tokens
        self._counts: list[list[int]] = saved["shards"] if saved else []
        self.text_bytes: int = saved["text_bytes"] if saved else 0
        self._ids: BinaryIO | None = None
        self._ends: BinaryIO | None = None
        if self._counts:
            self._open(len(self._counts) - 1)

    def append(self, ids: Ids, text_bytes: int) -> None:
        """Write one piece."""
        if self._ids is None or self._counts[-1][0] >= self._shard_tokens:
            self._roll()
        assert self._ids is not None
        assert self._ends is not None
        self._ids.write(ids.astype(self._dtype).tobytes())
        self._counts[-1][0] += len(ids)
        self._counts[-1][1] += 1
        self._ends.write(np.int64(self._counts[-1][0]).tobytes())
        self.text_bytes += text_bytes

    def save(self) -> dict[str, Any]:
        """Make all of it durable; returns what a later run needs to go on."""
        for stream in (self._ids, self._ends):
            if stream is not None:
                stream.flush()
                os.fsync(stream.fileno())
        return {"shards": self._counts, "text_bytes": self.text_bytes}

    def finish(self) -> tuple[ShardCard, ...]:
        """Close the files and describe them."""
        self.save()
        self.close()
        return tuple(
            ShardCard(
                file=self._file(number),
                tokens=tokens,
                pieces=pieces,
                sha256=sha256_of(self._folder / f"{self._file(number)}.bin"),
            )
            for number, (tokens, pieces) in enumerate(self._counts)
        )

    def _file(self, number: int) -> str:
        return f"{self.name}-{number:05d}"

    def _roll(self) -> None:
        self.save()
        self.close()
        self._counts.append([0, 0])
        self._open(len(self._counts) - 1)

    def _open(self, number: int) -> None:
        """Open a shard at its counted end; bytes beyond are of a run that was killed."""
        tokens, pieces = self._counts[number]
        self._ids = _opened(
            self._folder / f"{self._file(number)}.bin", tokens * self._dtype.itemsize
        )
        self._ends = _opened(self._folder / f"{self._file(number)}.ends", pieces * 8)

    def close(self) -> None:
        """Let the files go, finished or not."""
        for stream in (self._ids, self._ends):
            if stream is not None:
                stream.close()
        self._ids = self._ends = None


def _opened(path: Path, size: int) -> BinaryIO:
    path.touch()
    stream = path.open("r+b")
    stream.truncate(size)
    stream.seek(size)
    return stream
