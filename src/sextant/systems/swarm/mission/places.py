"""Places of a mission: its chart, what can be reached, and where to start.

Shape suffixes: N drones, C cells of the chart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sextant.errors import InputError
from sextant.systems.swarm.drone.chart import Chart
from sextant.systems.swarm.drone.safety import SafetyRule
from sextant.systems.swarm.world.grid import Floats, Grid, Layer

_LEAST_CELL_M = 0.25
_BLOCK_CELLS = 4096


def chart_of(grid: Grid, most_side: int | None = None) -> Chart:
    """The chart of a map: its own cells, or a few of them together where they are fine.

    Raises:
        InputError: it has more cells along a side than may be.
    """
    times = max(1, round(_LEAST_CELL_M / grid.cell_m))
    rows, columns = grid.heights_RC.shape
    side = -(-max(rows, columns) // times)
    if most_side is not None and side > most_side:
        what = f"a map of {columns} x {rows} cells; processes fly over {most_side} along a side"
        hint = f"cut it, or join {-(-side // most_side)} cells along each side into one"
        raise InputError(what, where="--map", hint=hint)
    return Chart(
        rows=-(-rows // times),
        columns=-(-columns // times),
        cell_m=times * grid.cell_m,
        origin_m=grid.origin_m,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Reach:
    """What drones can come to.

    Attributes:
        cells_C: the cells of a chart that one can fly to from some start.
        left_out_m2: of what is wide enough for a drone, but shut off from every start.
    """

    cells_C: np.ndarray
    left_out_m2: float


def reach(layer: Layer, chart: Chart, starts_N2: Floats, clearance_m: float) -> Reach:
    """What can be reached from some start."""
    from scipy import ndimage

    free_C = _free(layer, chart, clearance_m)
    labels, _ = ndimage.label(free_C.reshape(chart.rows, chart.columns))
    from_starts = labels.ravel()[chart.cells(starts_N2)]
    cells_C = np.asarray(np.isin(labels.ravel(), from_starts[from_starts > 0]))
    left_out = int((free_C & ~cells_C).sum())
    return Reach(cells_C=cells_C, left_out_m2=left_out * chart.cell_m**2)


def _free(layer: Layer, chart: Chart, clearance_m: float) -> np.ndarray:
    """The cells of a chart whose middle is farther than so much from anything [C]."""
    blocks = np.array_split(np.arange(chart.num_cells), -(-chart.num_cells // _BLOCK_CELLS))
    far = [layer.distances(chart.centres(block), clearance_m) for block in blocks]
    return np.concatenate(far) > clearance_m


def starts_on(layer: Layer, chart: Chart, count: int, rule: SafetyRule, seed: int) -> Floats:
    """Places to start from, near one another, in the largest free region.

    Raises:
        InputError: there are fewer places than drones.
    """
    from scipy import ndimage

    apart_m = 2 * (rule.radius_m + rule.margin_m) + 0.3
    centres = chart.centres(np.arange(chart.num_cells))
    free = _free(layer, chart, rule.radius_m + rule.margin_m + 0.05)
    labels, num = ndimage.label(free.reshape(chart.rows, chart.columns))
    if not num:
        raise InputError("no place on the map is wide enough for a drone", where="--map")
    sizes = np.bincount(labels.ravel())[1:]
    places = centres[labels.ravel() == 1 + int(sizes.argmax())]
    first = places[np.random.default_rng((seed, 9)).integers(len(places))]
    chosen: list[Floats] = []
    for place in places[np.argsort(np.hypot(*(places - first).T), kind="stable")]:
        if all(np.hypot(*(place - other)) > apart_m for other in chosen):
            chosen.append(place)
            if len(chosen) == count:
                return np.array(chosen)
    what = f"{count} drones, and places for {len(chosen)}"
    raise InputError(what, where="--drones", hint="fewer drones, or a larger map")
