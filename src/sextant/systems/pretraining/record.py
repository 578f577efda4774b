"""What happened in a run: one JSON object a line, only ever appended to.

Kinds: `start` (ranks are started), `begin` (they met: layout, from which step), `step`, `held`
(evaluation of held text), `checkpoint`, `trouble` (a checkpoint that was not written or not read, a
step that is taken once more), `slow` (a rank), `lost` (a rank, with how long it took to see),
`end`, and last `whole`: recoveries and goodput.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_MAX_WAITING = 4096
"""Lines kept while the disk is full."""


class Record:
    """Appends to a record; a line is written whole or, after a kill, cut off by the next reader."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._clock = path, clock
        self._waiting: deque[bytes] = deque(maxlen=_MAX_WAITING)
        _end_line(path)

    def write(self, kind: str, **told: Any) -> None:
        """Appends one event, with the time; on a full disk it waits for the next event's turn."""
        line = json.dumps({"kind": kind, "at_s": round(self._clock(), 3), **told})
        self._waiting.append(line.encode() + b"\n")
        # One write to a file open for appending: lines of several processes do not mix.
        with contextlib.suppress(OSError), self._path.open("ab", buffering=0) as stream:
            while self._waiting:
                if stream.write(self._waiting[0]) < len(self._waiting[0]):
                    # The part is ended, and skipped by readers; the line comes again, whole.
                    self._waiting[0] = b"\n" + self._waiting[0].lstrip(b"\n")
                    return
                self._waiting.popleft()


def read(path: Path, kind: str | None = None) -> Iterator[dict[str, Any]]:
    """The events of a record (of one kind); a torn line is left out."""
    if not path.is_file():
        return
    with path.open("rb") as stream:
        for line in stream:
            event = parsed(line)
            if event is not None and (kind is None or event.get("kind") == kind):
                yield event


def parsed(line: bytes) -> dict[str, Any] | None:
    """The event of a line; None for one that is torn."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def steps(path: Path) -> dict[int, dict[str, Any]]:
    """The last word on each step: a run that was set back takes some steps again."""
    return {int(event["step"]): event for event in read(path, "step")}


def _end_line(path: Path) -> None:
    """Ends a line that a killed process left half written."""
    if not path.is_file() or path.stat().st_size == 0:
        return
    with path.open("rb+") as stream:
        stream.seek(-1, os.SEEK_END)
        if stream.read(1) != b"\n":
            stream.write(b"\n")
