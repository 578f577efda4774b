"""Log lines of several processes on one stream: a named pipe, read by whoever started them."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO


@contextlib.contextmanager
def relay(stream: TextIO) -> Iterator[Path]:
    """Writes on the stream what comes through the pipe that it gives, line by line.

    A line of up to `PIPE_BUF` bytes (4,096 on Linux) is never mixed with another.
    """
    with tempfile.TemporaryDirectory(prefix="sextant-log-") as folder:
        path = Path(folder) / "log"
        os.mkfifo(path, 0o600)
        # Open for writing too, so that the pipe does not end when the last writer goes.
        descriptor = os.open(path, os.O_RDWR)
        thread = threading.Thread(target=_copy, args=(descriptor, stream), daemon=True)
        thread.start()
        try:
            yield path
        finally:
            os.write(descriptor, b"\0\n")
            thread.join(2.0)
            os.close(descriptor)


def _copy(descriptor: int, stream: TextIO) -> None:
    with os.fdopen(os.dup(descriptor), encoding="utf-8", errors="replace") as pipe:
        for line in pipe:
            if line == "\0\n":
                return
            with contextlib.suppress(OSError, ValueError):
                stream.write(line)
                stream.flush()


class PipeEnd:
    """The writing end of a relay. It never waits: a reader that stopped must not stop who logs."""

    def __init__(self, path: str) -> None:
        """Opens it; raises `OSError` where nobody reads any more."""
        self._descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)

    def write(self, text: str) -> int:
        """Writes a line whole; raises `BlockingIOError` where there is no room for it."""
        return os.write(self._descriptor, text.encode("utf-8", "replace"))

    def flush(self) -> None:
        """What is written is out already."""
