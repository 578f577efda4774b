"""The side that starts the reading process, bounds it, and makes documents of what it says."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import msgpack

from sextant.errors import EngineError, InputError
from sextant.systems.rag.document import Document, Troubles
from sextant.systems.rag.records import Columns, mended, to_document
from sextant.systems.rag.untrusted.messages import LENGTH, MOST_MESSAGE_BYTES, packed

_CHILD = "sextant.systems.rag.untrusted.child"
MEMORY_BYTES = 3 << 30
"""pyarrow and pypdf reserve a third of it before they read anything."""
MOST_TEXT_CHARS = 64 << 20
"""Of one document."""
STEP_S = 60.0
"""For one page, or some hundred rows."""
FILE_S = 900.0
"""For a PDF in all; a Parquet file goes on as long as rows come."""


class UntrustedReader:
    """Reads PDF and Parquet files in a process of its own, started at the first; a context manager.

    Args:
        step_s: the longest wait for the next page or row.
        file_s: the longest time for one PDF.
        memory_bytes: address space of the process.
    """

    def __init__(
        self, *, step_s: float = STEP_S, file_s: float = FILE_S, memory_bytes: int = MEMORY_BYTES
    ) -> None:
        self._step_s = step_s
        self._file_s = file_s
        self._memory_bytes = memory_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    # What could not be said any more is nobody's loss.
                    with suppress(OSError):
                        stream.close()
            self._process.wait()
            self._process = None
        self._unread.clear()

    def pdf(self, path: Path, name: str, troubles: Troubles) -> Document:
        """The document in a PDF.

        Raises:
            InputError: it is broken, locked, or takes too much time or memory; `what` says so of
                the file.
            EngineError: pypdf is not installed.
        """
        title, pages, num_chars = "", list[str](), 0
        end_s = time.monotonic() + self._file_s
        for kind, value in self._messages("pdf", path, {}):
            if kind == "title":
                title = mended(value).replace("\0", "")
                continue
            text = mended(value).replace("\0", "\ufffd").strip()
            num_chars += len(text)
            if num_chars > MOST_TEXT_CHARS or time.monotonic() > end_s:
                self.close()
                raise InputError("is too large to read")
            pages.append(text)
        if pages and not num_chars:
            troubles.note("PDF of pictures without text, skipped", str(path))
        text = "\n\n".join(page for page in pages if page)
        return Document(name, title or (path.stem if text else ""), text)

    def parquet(self, path: Path, columns: Columns, troubles: Troubles) -> Iterator[Document]:
        """The documents in the rows of a Parquet file.

        Raises:
            InputError: it is broken, has no column of text, or takes too much time or memory.
            EngineError: pyarrow is not installed.
        """
        number = 0
        for kind, value in self._messages("parquet", path, asdict(columns)):
            if kind == "columns":
                columns = Columns(**dict(zip(("text", "title", "id"), value, strict=True)))
                continue
            number += 1
            unnamed, where = f"{path.name}:{number}", f"{path}:{number}"
            document = to_document(value, columns, unnamed, where, troubles)
            if document is not None and len(document.text) > MOST_TEXT_CHARS:
                troubles.note(f"text over {MOST_TEXT_CHARS >> 20} Mi characters, skipped", where)
            elif document is not None:
                yield document

    def _messages(
        self, kind: str, path: Path, options: dict[str, Any]
    ) -> Iterator[tuple[str, Any]]:
        """What the process says of a file, up to its end."""
        self._ask({"kind": kind, "path": str(path), "options": options})
        whole = False
        try:
            while True:
                told, value = self._next()
                if told == "end":
                    whole = True
                    return
                if told in ("error", "engine"):
                    whole = True
                    what, hint = value
                    fails = EngineError if told == "engine" else InputError
                    raise fails(what, hint=hint)
                yield told, value
        finally:
            # Whoever stops in the middle of a file leaves the rest of it in the pipe.
            if not whole:
                self.close()

    def _ask(self, asked: dict[str, Any]) -> None:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", _CHILD, str(self._memory_bytes)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # One arena for all threads: each reserves 64 MiB of what the process may have.
                env={**os.environ, "MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"},
            )
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(packed(asked))
            self._process.stdin.flush()
        except BrokenPipeError:
            self.close()
            raise InputError("cannot be read: the reading process ended") from None

    def _next(self) -> tuple[str, Any]:
        """The process's next message.

        Raises:
            InputError: it takes too long, or the process ended.
        """
        end_s = time.monotonic() + self._step_s
        (length,) = LENGTH.unpack(self._bytes(LENGTH.size, end_s))
        if length > MOST_MESSAGE_BYTES:
            raise InputError("is too large to read")
        kind, value = msgpack.unpackb(self._bytes(length, end_s))
        return kind, value

    def _bytes(self, num: int, end_s: float) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        while len(self._unread) < num:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, end_s - time.monotonic()))
            if not ready:
                raise InputError(f"takes over {self._step_s:g} s to read")
            block = os.read(descriptor, 1 << 20)
            if not block:
                raise InputError("crashes its reader, or takes too much memory")
            self._unread += block
        taken = bytes(self._unread[:num])
        del self._unread[:num]
        return taken
