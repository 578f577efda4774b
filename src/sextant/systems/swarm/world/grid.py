"""Maps: where something stands, and how high.

Shape suffixes: R rows (row 0 at the smallest y), C columns, N points.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from sextant.errors import missing_engine

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

ROOT_2 = float(np.sqrt(2.0))


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Square cells, each with the height of what stands in it.

    Attributes:
        heights_RC: metres above ground; infinite for a wall that nobody flies over.
        cell_m: the side of a cell.
        origin_m: (x, y) of the outer corner of cell (0, 0).
    """

    heights_RC: Floats
    cell_m: float
    origin_m: tuple[float, float] = (0.0, 0.0)

    @property
    def size_m(self) -> tuple[float, float]:
        """Width and height of the whole map."""
        rows, columns = self.heights_RC.shape
        return columns * self.cell_m, rows * self.cell_m

    def layer(self, altitude_m: float) -> Layer:
        """What blocks the way at an altitude."""
        return Layer(
            blocked_RC=self.heights_RC > altitude_m, cell_m=self.cell_m, origin_m=self.origin_m
        )


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One altitude of a map; outside it everything is blocked."""

    blocked_RC: Bools
    cell_m: float
    origin_m: tuple[float, float]

    @cached_property
    def clearance_RC(self) -> Floats:  # noqa: N802
        """Metres from a cell's centre to that of the nearest blocked one, the border included."""
        try:
            from scipy import ndimage
        except ImportError:
            raise missing_engine("scipy", "swarm") from None
        framed = np.pad(self.blocked_RC, 1, constant_values=True)
        metres: Floats = ndimage.distance_transform_edt(~framed)[1:-1, 1:-1] * self.cell_m
        return metres

    @cached_property
    def framed_clearance(self) -> tuple[Floats, Floats, int]:
        """The clearance in a frame of blocked cells, in one row; the last column and row of the
        frame, and how many columns it has.
        """
        framed = np.pad(self.clearance_RC, 1, constant_values=0.0)
        rows, columns = self.blocked_RC.shape
        return framed.ravel(), np.array((columns, rows), np.float64), columns + 2

    def cells(self, points_N2: Floats) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The rows and columns of points (they may lie outside)."""
        at_N2 = np.floor((points_N2 - np.asarray(self.origin_m)) / self.cell_m).astype(np.int64)
        return at_N2[..., 1], at_N2[..., 0]

    def is_blocked(self, points_N2: Floats) -> Bools:
        """Whether points lie in a blocked cell or outside the map."""
        rows, columns = self.cells(points_N2)
        return self.blocked(rows, columns)

    def blocked(self, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> Bools:
        """Whether cells are blocked or outside the map."""
        num_rows, num_columns = self.blocked_RC.shape
        near_rows, near_columns = rows.clip(0, num_rows - 1), columns.clip(0, num_columns - 1)
        outside = (near_rows != rows) | (near_columns != columns)
        return np.asarray(outside | self.blocked_RC[near_rows, near_columns])

    def centres(self, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> Floats:
        """The middle of cells [..., 2]."""
        at = np.stack([columns, rows], axis=-1) + 0.5
        centres: Floats = at * self.cell_m + np.asarray(self.origin_m)
        return centres

    def distance(self, point_2: Floats, within_m: float) -> float:
        """Metres from a point to the nearest blocked square; infinite beyond `within_m`."""
        return float(self.distances(point_2[None], within_m)[0])

    def distances(self, points_N2: Floats, within_m: float) -> Floats:
        """Metres from points to the nearest blocked square; infinite beyond `within_m`."""
        reach = int(np.ceil(within_m / self.cell_m))
        around = np.arange(-reach, reach + 1)
        rows_N, columns_N = self.cells(points_N2)
        rows_NA, columns_NA = rows_N[:, None] + around, columns_N[:, None] + around
        blocked_NAA = self.blocked(rows_NA[:, :, None], columns_NA[:, None, :])
        # How far off each row and column of cells is, one axis at a time.
        at_N2 = (points_N2 - np.asarray(self.origin_m)) / self.cell_m - 0.5
        up_NA = np.maximum(np.abs(rows_NA - at_N2[:, 1:]) - 0.5, 0.0)
        across_NA = np.maximum(np.abs(columns_NA - at_N2[:, :1]) - 0.5, 0.0)
        square_NAA = up_NA[:, :, None] ** 2 + across_NA[:, None, :] ** 2
        square_N = np.where(blocked_NAA, square_NAA, np.inf).min(axis=(1, 2))
        nearest_N = np.sqrt(square_N) * self.cell_m
        return np.where(nearest_N <= within_m, nearest_N, np.inf)
