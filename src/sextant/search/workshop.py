"""The one place where an index is written: held by one process at a time, and cleared after."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sextant.errors import InputError
from sextant.search.generations import BUILDING


class OccupiedError(InputError):
    """Another process is writing the index; later it may be done."""


_LOCK = ".lock"
_BETWEEN_TRIES_S = 0.1


@contextmanager
def workshop(index_dir: Path, wait_s: float = 0.0) -> Iterator[Path]:
    """The folder for work in progress, held by this process alone; made if absent.

    Args:
        index_dir: where the index lives; made if absent.
        wait_s: how long to wait for another process to finish.

    Raises:
        OccupiedError: another process is still writing here.
    """
    folder = index_dir / BUILDING
    index_dir.mkdir(parents=True, exist_ok=True)
    end_s = time.monotonic() + wait_s
    with (index_dir / _LOCK).open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end_s:
                    raise OccupiedError(
                        "another build is at work here",
                        where=str(index_dir),
                        hint="wait until it is done; what is published goes on being served",
                    ) from None
                time.sleep(_BETWEEN_TRIES_S)
        folder.mkdir(exist_ok=True)
        yield folder
