"""Reading maps: ROS map_server (.yaml beside .pgm or .png) and MovingAI (.map)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from sextant.errors import InputError, missing_engine
from sextant.systems.swarm.world.grid import Grid

TREE_M = 4.0
"""How high a MovingAI tree stands: a drone above it flies on."""
_MOST_CELLS = 64_000_000
_MOVING_AI = {".": 0.0, "G": 0.0, "S": 0.0, "W": 0.0, "T": TREE_M, "@": np.inf, "O": np.inf}
_HINT = "a ROS map_server .yaml, or a MovingAI .map"

_FINEST_CELL_M = 0.02
"""Finer than any map of a laser scanner; a drone spans thousands of smaller cells."""


def read_map(path: Path, *, cell_m: float | None = None) -> Grid:
    """The map in a file.

    Args:
        path: `.yaml` or `.map`.
        cell_m: metres a cell, which a MovingAI map does not say (1 by default); a ROS map does.

    Raises:
        InputError: it does not parse; the message says what and where.
    """
    if not path.is_file():
        raise InputError("no such map", where=str(path), hint=_HINT)
    match path.suffix:
        case ".map":
            return _moving_ai(path, 1.0 if cell_m is None else cell_m)
        case ".yaml" | ".yml":
            return _ros(path)
    raise InputError("not a map", where=str(path), hint=_HINT)


def _moving_ai(path: Path, cell_m: float) -> Grid:
    """Source: Sturtevant 2012, Benchmarks for grid-based pathfinding, the file format."""
    if not _FINEST_CELL_M <= cell_m < 1000:
        hint = f"such as 0.5; at least {_FINEST_CELL_M}"
        raise InputError(f"{cell_m} m a cell", where="--cell", hint=hint)
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except UnicodeDecodeError:
        raise InputError("a binary file, not a map", where=str(path), hint=_HINT) from None
    try:
        head = dict(line.split(maxsplit=1) for line in lines[:3])
        rows, columns = int(head["height"]), int(head["width"])
        start = lines.index("map") + 1
    except (ValueError, KeyError):
        what = "an empty file, not a map" if not lines else "not a MovingAI map"
        hint = "its first lines are: type octile, height N, width N, map"
        raise InputError(what, where=str(path), hint=hint) from None
    if not 0 < rows * columns <= _MOST_CELLS:
        raise InputError(f"{rows} x {columns} cells", where=str(path))
    body = lines[start : start + rows]
    if len(body) != rows:
        raise InputError(f"{len(body)} rows, not {rows}", where=str(path))
    heights = np.empty((rows, columns))
    for row, line in enumerate(body):
        where = f"{path}:{start + row + 1}"
        if len(line) != columns:
            raise InputError(f"{len(line)} columns, not {columns}", where=where)
        try:
            heights[row] = [_MOVING_AI[cell] for cell in line]
        except KeyError as error:
            raise InputError(f"no kind of cell: {error}", where=where) from error
    return Grid(heights_RC=heights[::-1].copy(), cell_m=cell_m)


def _ros(path: Path) -> Grid:
    """Source: ROS wiki, map_server, section 3; what is unknown there is a wall here."""
    head = _yaml(path)
    try:
        cell_m = float(head["resolution"])
        origin = [float(value) for value in head["origin"]]
        free_below = float(head.get("free_thresh", 0.196))
        negate = bool(int(head.get("negate", 0)))
        named = path.parent / str(head["image"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"not a map_server file: {error}", where=str(path)) from error
    if not (0 < cell_m < 1000 and len(origin) >= 2 and np.isfinite(origin).all()):
        raise InputError("resolution and origin must be numbers in metres", where=str(path))
    # Maps get renamed, and what is in the file then names an image that is not there.
    image = named if named.is_file() else path.with_suffix(named.suffix)
    try:
        with Image.open(image) as opened:
            if opened.width * opened.height > _MOST_CELLS:
                raise InputError(f"{opened.width} x {opened.height} cells", where=str(image))
            grey = np.asarray(opened.convert("L"), np.float64) / 255.0
    except Image.DecompressionBombError:
        what = f"an image of more than {_MOST_CELLS:,} cells"
        raise InputError(what, where=str(image)) from None
    except (OSError, UnidentifiedImageError, ValueError) as error:
        raise InputError(f"no readable image: {error}", where=str(image)) from error
    occupancy = grey if negate else 1.0 - grey
    heights = np.where(occupancy < free_below, 0.0, np.inf)
    return Grid(heights_RC=heights[::-1].copy(), cell_m=cell_m, origin_m=(origin[0], origin[1]))


def _yaml(path: Path) -> dict[str, Any]:
    try:
        import yaml
    except ImportError:
        raise missing_engine("pyyaml", "swarm") from None
    try:
        head = yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise InputError("a binary file, not a map", where=str(path), hint=_HINT) from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"not YAML: {error}", where=str(path)) from error
    if not isinstance(head, dict):
        raise InputError("not a map_server file", where=str(path), hint=_HINT)
    return head
