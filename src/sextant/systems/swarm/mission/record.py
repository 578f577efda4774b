"""A flight on file: one JSON object a line, from which the page and the video are drawn.

The first line is of kind `start` (the map, the drones, the targets), then one `frame` every fifth
of a second, and at last one `end` with the figures. While the flight goes on the file is NAME.part;
lines are only ever added to it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sextant.errors import InputError
from sextant.systems.swarm.drone.chart import Chart
from sextant.systems.swarm.mission.places import Reach
from sextant.systems.swarm.world.grid import Layer

FRAME_S = 0.2
_SAME_M = 1.0
_CURVE_POINTS = 60


def start_line(
    chart: Chart, layer: Layer, reach: Reach, targets_T2: np.ndarray, drones: int
) -> dict[str, Any]:
    """What stands where; `blocked` are numbers of chart cells, `left_out_m2` what is shut off."""
    blocked = layer.is_blocked(chart.centres(np.arange(chart.num_cells)))
    return {
        "kind": "start",
        "rows": chart.rows,
        "columns": chart.columns,
        "cell_m": chart.cell_m,
        "origin_m": list(chart.origin_m),
        "blocked": np.flatnonzero(blocked).tolist(),
        "left_out_m2": round(reach.left_out_m2, 2),
        "targets": np.round(targets_T2, 2).tolist(),
        "drones": drones,
    }


def frame_line(
    at_s: float,
    coverage: float,
    fresh: np.ndarray,
    places: Mapping[int, Sequence[float]],
    tellings: Sequence[Mapping[str, Any]],
    collisions: int,
) -> dict[str, Any]:
    """How it stands.

    A drone is a row of name, x, y, what it is about, where it flies to, and its loop in
    milliseconds; a task one of x, y and its owner.

    Args:
        at_s: the world's time.
        coverage: share of what can be reached.
        fresh: numbers of chart cells that were seen since the last frame.
        places: (x, y) of each drone in the air.
        tellings: what each of them told last (`drone.telling`).
        collisions: so far.
    """
    told = {telling["name"]: telling for telling in tellings if telling["name"] in places}
    loops_ms = {name: round(1e3 * float(one["loop_s"]), 2) for name, one in told.items()}
    found: list[list[float]] = []
    for spot in (spot for telling in told.values() for spot in telling["targets"]):
        if all(math.dist(spot, other) >= _SAME_M for other in found):
            found.append(spot)
    return {
        "kind": "frame",
        "at_s": round(at_s, 2),
        "coverage": round(coverage, 4),
        "seen": fresh.tolist(),
        "drones": [
            [
                name,
                *(round(float(c), 2) for c in places[name]),
                one["phase"],
                one["goal"],
                loops_ms[name],
            ]
            for name, one in told.items()
        ],
        "tasks": [[*task, name] for name, one in told.items() for task in one["tasks"]],
        "links": [[i, j] for i, one in told.items() for j in one["hears"] if i < j and j in told],
        "loop_ms": round(float(np.median(list(loops_ms.values()) or [0.0])), 3),
        "found": found,
        "collisions": collisions,
    }


def thinned(curve: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Coverage over time, in some points, the last among them."""
    every = max(1, len(curve) // _CURVE_POINTS)
    rounded = [(round(at_s, 2), round(share, 4)) for at_s, share in curve]
    return [*rounded[:-1:every], rounded[-1]]


class Record:
    """A file that grows line by line; it appears under its name when it is closed."""

    def __init__(self, path: Path) -> None:
        """Open it; its folder is made if it is not there.

        Raises:
            InputError: it cannot be written.
        """
        self._path, self._part = path, path.with_name(path.name + ".part")
        if path.is_dir():
            raise InputError(
                "a folder; a flight is a file", where=str(path), hint="such as a.jsonl"
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._part.open("w", encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot write: {error}", where=str(path)) from error

    def add(self, line: Mapping[str, Any]) -> None:
        """Add a line."""
        self._file.write(json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n")
        self._file.flush()

    def __enter__(self) -> Record:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the file its name; a second time does nothing."""
        if self._file.closed:
            return
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
