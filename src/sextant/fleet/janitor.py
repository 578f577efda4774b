"""Cleans up after a local fleet, however its driver ended; run as a program by `cluster`.

It waits for the end of its standard input, which closes when the driver lets go of it or dies.
Then it ends every process of the fleet that is left, and removes the fleet's directory. It uses
the standard library only, so that it starts in a few milliseconds.
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


def belongs(process: Path, mark: str, directory: str) -> bool:
    """Whether a process (its folder under /proc) is of the fleet.

    Some of Ray's processes write their title over their environment, the mark with it; but each
    keeps a log open in the fleet's directory.
    """
    with contextlib.suppress(OSError):
        if f"{MARK}={mark}".encode() in (process / "environ").read_bytes().split(b"\0"):
            return True
        for descriptor in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                if str(descriptor.readlink()).startswith(directory + "/"):
                    return True
    return False


def members(mark: str, directory: str, spared: set[int]) -> list[int]:
    """The processes of the fleet that are there still, without those spared (Linux only)."""
    return [
        int(process.name)
        for process in Path("/proc").glob("[0-9]*")
        if int(process.name) not in spared and belongs(process, mark, directory)
    ]


def end_all(mark: str, directory: str, spared: set[int]) -> None:
    """Waits a while for the fleet's processes to end, then kills those left; always bounded."""
    start_s = time.monotonic()
    while (left := members(mark, directory, spared)) and time.monotonic() - start_s < _PATIENCE_S:
        if time.monotonic() - start_s >= _GRACE_S:
            for pid in left:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def main(arguments: list[str]) -> None:
    """Waits for the driver's end, then cleans up: `janitor.py MARK DIRECTORY`."""
    mark, directory = arguments
    # The driver holds logs of the fleet open too, and may well live on.
    spared = {os.getpid(), os.getppid()}
    sys.stdin.buffer.read()
    end_all(mark, directory, spared)
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])
