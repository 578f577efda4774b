"""The frame of the shared map: cells of the geofence, and what one scan says of them.

Shape suffixes: R rays, S samples along a ray.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sextant.systems.swarm.world.grid import Floats
from sextant.systems.swarm.world.rays import fan
from sextant.systems.swarm.world.sensors import Readings, SensorRule

Cells = npt.NDArray[np.int64]

HIT, FREE = 1, -1
"""Evidence of all drones together, from which a cell counts as occupied, or as free."""
_OVER_M = 0.5
"""So much farther than it reaches noise may put what a ray hit."""
_BORDER = 0.14
"""So near its border, as a share of its side, a ray in a cell may be in the next."""
_ASIDE = 0.8
"""So far to its side, as a share of how far behind it, a hit may be of another cell."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """A geofence of square cells; all drones of a mission have the same.

    Attributes:
        rows: of cells.
        columns: of cells.
        cell_m: the side of a cell.
        origin_m: (x, y) of its outer corner.
    """

    rows: int
    columns: int
    cell_m: float
    origin_m: tuple[float, float]

    @property
    def num_cells(self) -> int:
        """Of the whole geofence."""
        return self.rows * self.columns

    def cells(self, points_N2: Floats) -> Cells:
        """The cells of points, by number; -1 for those outside."""
        at = np.floor((points_N2 - np.asarray(self.origin_m)) / self.cell_m).astype(np.int64)
        column, row = at[..., 0], at[..., 1]
        inside = (row >= 0) & (column >= 0) & (row < self.rows) & (column < self.columns)
        return np.where(inside, row * self.columns + column, -1)

    def centres(self, cells: Cells) -> Floats:
        """The middles of cells [..., 2]."""
        row, column = np.divmod(cells, self.columns)
        at = np.stack([column, row], axis=-1) + 0.5
        return np.asarray(at * self.cell_m + np.asarray(self.origin_m))


def scan(chart: Chart, readings: Readings, rule: SensorRule) -> tuple[Cells, Cells]:
    """The cells that a scan found free, and those that stopped a ray; each once.

    A hit lies on the face of what stopped the ray, so it is put a little behind it; a cell that
    some ray hit is not counted free by another that grazed it. Near a cell's edge, or along its
    face, errors may put a hit into the next cell, which may be a door, and a ray that passes a
    wall into the wall: neither says anything.
    """
    known_R = ~np.isnan(readings.ranges_R)
    ranges_R = readings.ranges_R[known_R]
    behind_m = min(0.3 * chart.cell_m, 0.15) + rule.range_noise_m
    hit_R = ranges_R < rule.reach_m + _OVER_M
    # All of it lies on a window of cells around the drone.
    half = int(np.ceil((rule.reach_m + _OVER_M + behind_m) / chart.cell_m)) + 1
    at_2 = (readings.position_2 - chart.origin_m) / chart.cell_m
    corner_2 = np.floor(at_2) - half
    ways_R2 = fan(len(known_R), readings.turn)[known_R] / chart.cell_m
    steps_S = np.arange(0.0, rule.reach_m, 0.5 * chart.cell_m)
    # A ray says nothing of the last stretch before what it hit.
    clear_RS = steps_S < (ranges_R - 0.5 * behind_m)[:, None]
    across, up = at_2 - corner_2
    side = 2 * half + 1
    window = np.zeros((side, side), np.int8)
    flat = window.ravel()
    xs_RS, ys_RS = across + ways_R2[:, :1] * steps_S, up + ways_R2[:, 1:] * steps_S
    columns_RS, rows_RS = xs_RS.astype(np.int64), ys_RS.astype(np.int64)
    off_RS = np.maximum(np.abs(xs_RS - columns_RS - 0.5), np.abs(ys_RS - rows_RS - 0.5))
    clear_RS &= off_RS < 0.5 - _BORDER
    flat[(rows_RS * side + columns_RS)[clear_RS]] = FREE
    ways_N2 = ways_R2[hit_R]
    points_N2 = (across, up) + ways_N2 * (ranges_R[hit_R] + behind_m)[:, None]
    aside_N2 = ways_N2[:, ::-1] * (-_ASIDE * behind_m, _ASIDE * behind_m)
    cells_N2 = points_N2.astype(np.int64)
    sure_N = ((points_N2 + aside_N2).astype(np.int64) == cells_N2).all(axis=1)
    sure_N &= ((points_N2 - aside_N2).astype(np.int64) == cells_N2).all(axis=1)
    cells_N = cells_N2[:, 1] * side + cells_N2[:, 0]
    flat[cells_N] = 0
    flat[cells_N[sure_N]] = HIT
    column, row = (int(corner) for corner in corner_2)
    return _cut(chart, window, row, column, FREE), _cut(chart, window, row, column, HIT)


def _cut(chart: Chart, window: np.ndarray, row: int, column: int, what: int) -> Cells:
    """The chart's cells that a window says something of; its corner is at a row and a column."""
    top, left = max(0, -row), max(0, -column)
    inside = window[top : max(0, chart.rows - row), left : max(0, chart.columns - column)]
    rows, columns = (inside == what).nonzero()
    return np.asarray((rows + (row + top)) * chart.columns + (columns + (column + left)))


def footprint(chart: Chart, position_2: Floats, view_m: float, error_m: float) -> Cells:
    """The cells whose middle the camera certainly saw."""
    half = max(view_m / 2 - error_m, 0.0)
    low = np.floor((position_2 - half - np.asarray(chart.origin_m)) / chart.cell_m + 0.5)
    high = np.floor((position_2 + half - np.asarray(chart.origin_m)) / chart.cell_m - 0.5)
    columns = np.arange(max(0, int(low[0])), min(chart.columns - 1, int(high[0])) + 1)
    rows = np.arange(max(0, int(low[1])), min(chart.rows - 1, int(high[1])) + 1)
    return np.asarray((rows[:, None] * chart.columns + columns[None, :]).ravel())
