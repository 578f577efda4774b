"""Log lines of several processes on one stream: a named pipe, read by whoever started them."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

_PREFIX = "sextant-log-"
_OLD_S = 60.0
"""A pipe so young may be about to have its reader."""


@contextlib.contextmanager
def relay(stream: TextIO) -> Iterator[Path]:
    """Writes on the stream what comes through the pipe that it gives, line by line.

    A line of up to `PIPE_BUF` bytes (4,096 on Linux) is never mixed with another.
    """
    _forget_unread()
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as folder:
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


def _forget_unread() -> None:
    """Removes the pipes whose reader was killed, so that it could not do so itself."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime < _OLD_S:
                continue
            try:
                os.close(os.open(folder / "log", os.O_WRONLY | os.O_NONBLOCK))
            except OSError as error:
                if error.errno == errno.ENXIO:
                    (folder / "log").unlink()
                    folder.rmdir()


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
