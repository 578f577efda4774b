"""Cleans up after a local fleet, however its driver ended; run as a program by `cluster`.

It waits for the end of its standard input, which closes when the driver lets go of it or dies.
Then it ends every process that still carries the fleet's mark in its environment, and removes the
fleet's directory. It uses the standard library only, so that it starts in a few milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

MARK = "SEXTANT_FLEET"
"""The variable that every process of a local fleet inherits."""

_GRACE_S = 2.0
_PATIENCE_S = 5.0


def marked(mark: str) -> list[int]:
    """The processes of this user, other than this one, that carry the mark (Linux only)."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(entry.name) != os.getpid() and wanted in (entry / "environ").read_bytes().split(
                b"\0"
            ):
                found.append(int(entry.name))
    return found


def end_marked(mark: str, *, grace_s: float = _GRACE_S, patience_s: float = _PATIENCE_S) -> None:
    """Waits `grace_s` for the marked processes to end, then kills those left; always bounded."""
    start_s = time.monotonic()
    while (left := marked(mark)) and time.monotonic() - start_s < patience_s:
        if time.monotonic() - start_s >= grace_s:
            for pid in left:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def main(arguments: list[str]) -> None:
    """Waits for the driver's end, then cleans up: `janitor.py MARK DIRECTORY`."""
    mark, directory = arguments
    sys.stdin.buffer.read()
    end_marked(mark)
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])
