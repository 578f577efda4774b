"""Cleans up after a fleet of this machine, however its keepers ended; run as a program by `office`.

Every process that keeps the fleet, or would take it over, holds a lock on a file; the system lets
go of it when the process ends, however that comes about. Once nobody holds it (or the office says
so by SIGTERM) every process of the fleet that is left is ended, and its directory removed. It uses
the standard library only, so that it starts in a few milliseconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import sys
import time
from pathlib import Path

MARK = "SEXTANT_FLEET"
"""The variable that every process of a fleet of this machine inherits."""
LOCK = "keepers"
"""The file in the fleet's directory that its keepers hold locked."""

_GRACE_S = 2.0
_PATIENCE_S = 5.0


class _Over(Exception):  # noqa: N818
    """The office closes: there is nothing to wait for."""


def members(mark: str, spared: set[int]) -> list[int]:
    """The processes of the fleet that are there still, without those spared (Linux only)."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{MARK}={mark}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return [pid for pid in found if pid not in spared]


def end_all(mark: str, spared: set[int], grace_s: float = _GRACE_S) -> None:
    """Waits a while for the fleet's processes to end, then kills those left; always bounded."""
    start_s = time.monotonic()
    while (left := members(mark, spared)) and time.monotonic() - start_s < grace_s + _PATIENCE_S:
        if time.monotonic() - start_s >= grace_s:
            for pid in left:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def main(arguments: list[str]) -> None:
    """Waits until nobody keeps the fleet, then cleans up: `janitor.py MARK DIRECTORY`."""
    mark, directory = arguments
    with contextlib.suppress(_Over, OSError):
        signal.signal(signal.SIGTERM, _end)
        with (Path(directory) / LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end_all(mark, {os.getpid()})
    shutil.rmtree(directory, ignore_errors=True)


def _end(*_: object) -> None:
    raise _Over


if __name__ == "__main__":
    main(sys.argv[1:])
