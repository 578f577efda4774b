"""What happened in a run: one JSON object a line, only ever appended to.

Kinds: `start` (ranks are started), `begin` (they met: layout, from which step), `step`, `held`
(evaluation of held text), `checkpoint`, `trouble` (a checkpoint that was not written or not read),
`slow` (a rank), `lost` (a rank, with how long it took to see), `end`, and last `whole`: recoveries
and goodput.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_READ_BYTES = 1 << 20


class Record:
    """Appends to a record; a line is written whole or, after a kill, cut off by the next reader."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._clock = path, clock
        _end_line(path)

    def write(self, kind: str, **told: Any) -> None:
        """Appends one event, with the time; a full disk costs the line, not the run."""
        line = json.dumps({"kind": kind, "at_s": round(self._clock(), 3), **told})
        # One write to a file open for appending: lines of several processes do not mix.
        with contextlib.suppress(OSError), self._path.open("ab", buffering=0) as stream:
            stream.write(line.encode() + b"\n")


def read(path: Path, kind: str | None = None) -> Iterator[dict[str, Any]]:
    """The events of a record (of one kind); a torn line is left out."""
    if not path.is_file():
        return
    with path.open("rb") as stream:
        for line in stream:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and (kind is None or event.get("kind") == kind):
                yield event


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
