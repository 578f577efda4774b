"""A flight on file: one JSON object a line, from which the page and the video are drawn.

The first line is of kind `start` (the map, the drones, the targets), then one `frame` every fifth
of a second, and at last one `end` with the figures.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from sextant.errors import InputError
from sextant.systems.swarm.drone.chart import Chart
from sextant.systems.swarm.world.grid import Layer

FRAME_S = 0.2


def start_line(chart: Chart, layer: Layer, targets_T2: np.ndarray, drones: int) -> dict[str, Any]:
    """What stands where; `blocked` are numbers of chart cells."""
    blocked = layer.is_blocked(chart.centres(np.arange(chart.num_cells)))
    return {
        "kind": "start",
        "rows": chart.rows,
        "columns": chart.columns,
        "cell_m": chart.cell_m,
        "origin_m": list(chart.origin_m),
        "blocked": np.flatnonzero(blocked).tolist(),
        "targets": np.round(targets_T2, 2).tolist(),
        "drones": drones,
    }


class Record:
    """A file that grows line by line; it appears under its name when it is closed."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            InputError: it cannot be written.
        """
        self._path, self._part = path, path.with_name(path.name + ".part")
        try:
            self._file = self._part.open("w", encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot write: {error}", where=str(path)) from error

    def add(self, line: Mapping[str, Any]) -> None:
        """Add a line."""
        self._file.write(json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n")
        self._file.flush()

    def __enter__(self) -> Record:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.replace(self._path)


def read_record(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a record.

    Raises:
        InputError: it is none; the message says which line.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            for number, text in enumerate(lines, 1):
                line = json.loads(text)
                if not isinstance(line, dict) or "kind" not in line:
                    raise ValueError("not a line of a flight")
                if number == 1 and line["kind"] != "start":
                    raise ValueError("no start")
                yield line
    except (OSError, ValueError) as error:
        raise InputError(f"not a record: {error}", where=str(path)) from error
