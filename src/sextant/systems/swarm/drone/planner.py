"""Where to fly: what is left to do, sector by sector, and the shortest way there.

Shape suffixes: C cells of the chart, W points of a way, S samples on a line.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import hypot, isfinite
from typing import Any

import numpy as np

from sextant.errors import missing_engine
from sextant.systems.swarm.agreement.shared_map import SharedMap
from sextant.systems.swarm.drone.chart import FREE, HIT, Cells, Chart
from sextant.systems.swarm.drone.roads import Roads
from sextant.systems.swarm.world.grid import Bools, Floats

_SECTOR_M = 6.0
_DISCOUNT_A_METRE = 0.97
_DETOUR = 1.3
_LOOK_M = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Ways:
    """Shortest ways from one cell.

    Attributes:
        start: the cell.
        metres_C: to every cell.
        before_C: the cell before it on the way.
        framed: where a drone may steer over, cells in a frame of one more on each side, in one row:
            known to be free, far from walls, and nobody stands there, or off the chart. Its own
            cell may be one that is too near a wall to plan through.
    """

    start: int
    metres_C: Floats
    before_C: Cells
    framed: Bools

    def path(self, cell: int) -> list[int]:
        """The cells from the start to a cell that can be reached."""
        path = [cell]
        while path[-1] != self.start:
            path.append(int(self.before_C[path[-1]]))
        return path[::-1]


class Planner:
    """Plans on a drone's copy of the shared map."""

    def __init__(self, chart: Chart, shared: SharedMap, clearance_m: float) -> None:
        self._chart, self._shared, self._clearance_m = chart, shared, clearance_m
        self._sides = max(1, round(_SECTOR_M / chart.cell_m))
        rows, columns = np.divmod(np.arange(chart.num_cells), chart.columns)
        self._centres_C2 = chart.centres(np.arange(chart.num_cells))
        self._origin_2 = np.array(chart.origin_m)
        self._frame_2 = np.array((chart.columns, chart.rows), np.float64)
        self._roads = Roads(chart)
        self._clear: tuple[int, Bools] | None = None
        across = -(-chart.columns // self._sides)
        self._sector_C = rows // self._sides * across + columns // self._sides
        self._last: tuple[Ways, int, Floats] | None = None

    def ways(self, position_2: Floats, avoid_N2: Floats, avoid_m: float) -> Ways:
        """The shortest ways over cells that are known to be free.

        A way past somebody who stands there counts as longer, for he may be long in going.
        """
        passable_C = self._passable()
        beside_C = np.zeros(self._chart.num_cells, np.bool_)
        for avoid_2 in avoid_N2:
            gaps_C2 = self._centres_C2 - avoid_2
            beside_C |= gaps_C2[:, 0] ** 2 + gaps_C2[:, 1] ** 2 <= avoid_m**2
        start = self._nearest(position_2, passable_C)
        metres_C, before_C = self._roads.shortest(passable_C, start, beside_C)
        clear_C = passable_C & ~beside_C
        clear_C[start] = True
        rows, columns = self._chart.rows, self._chart.columns
        framed = np.ones((rows + 2, columns + 2), np.bool_)
        framed[1:-1, 1:-1] = clear_C.reshape(rows, columns)
        return Ways(start=start, metres_C=metres_C, before_C=before_C, framed=framed.ravel())

    def work(self, ways: Ways) -> Cells:
        """Cells that can be flown to and are worth it: not seen yet, or beside the unknown."""
        near_C = np.isfinite(ways.metres_C)
        left_C = near_C & (~self._shared.seen_C | self._beside_unknown())
        return np.flatnonzero(left_C)

    def tasks(self, work: Cells, ways: Ways) -> dict[int, int]:
        """The sectors with work, and of each the work cell that is nearest."""
        order = work[np.argsort(ways.metres_C[work], kind="stable")]
        sectors, first = np.unique(self._sector_C[order], return_index=True)
        return dict(zip(sectors.tolist(), order[first].tolist(), strict=True))

    def score(self, path: list[int], cells: dict[int, int], task: int, ways: Ways) -> float:
        """What doing a task after a path of others is worth: it falls with the way there.

        Source: Choi et al. 2009, section VI: time-discounted reward, which has diminishing gains.
        """
        target = cells[task]
        stops = [divmod(cells[done], self._chart.columns) for done in path]
        stops.append(divmod(target, self._chart.columns))
        legs = sum(hypot(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(stops))
        first_m = float(ways.metres_C[cells[path[0]] if path else target])
        far_m = first_m + _DETOUR * self._chart.cell_m * legs
        return 100.0 * float(_DISCOUNT_A_METRE**far_m) if isfinite(far_m) else 0.0

    def ahead(self, position_2: Floats, ways: Ways, cell: int) -> Floats:
        """The point to steer for: as far along the way as a straight line stays on free cells."""
        points_W2 = self._points(ways, cell)
        gaps_W2 = points_W2 - position_2
        far_W = np.hypot(gaps_W2[:, 0], gaps_W2[:, 1])
        too_far = far_W > _LOOK_M + self._chart.cell_m
        count = int(too_far.argmax()) if too_far.any() else len(points_W2)
        if not count:
            return np.asarray(points_W2[0])
        along_S = _parts(max(2, int(4 * far_W[:count].max() / self._chart.cell_m)))
        points_WS2 = position_2 + along_S[:, None] * gaps_W2[:count, None]
        at_WS2 = np.floor((points_WS2 - self._origin_2) / self._chart.cell_m)
        at_WS2 = np.minimum(np.maximum(at_WS2, -1.0), self._frame_2).astype(np.int64)
        across = self._chart.columns + 2
        clear_WS = ways.framed[(at_WS2[..., 1] + 1) * across + (at_WS2[..., 0] + 1)]
        seen = clear_WS.all(axis=1).nonzero()[0]
        return np.asarray(points_W2[seen[-1] if len(seen) else 0])

    def _points(self, ways: Ways, cell: int) -> Floats:
        """The way's points after the start, kept until the next plan."""
        if self._last is None or self._last[0] is not ways or self._last[1] != cell:
            path = ways.path(cell)
            points_W2 = self._chart.centres(np.array(path[1:] or path, np.int64))
            self._last = ways, cell, points_W2
        return self._last[2]

    def _passable(self) -> Bools:
        """Known to be free, and far enough from what is not."""
        if self._clear is not None and self._clear[0] == self._shared.changed:
            return self._clear[1]
        free_C = self._shared.evidence_C <= FREE
        cells = self._clearance_m / self._chart.cell_m + 0.5
        # In coarse cells all that is beside what is taken is far enough from it.
        if cells > 1.0:
            taken = (self._shared.evidence_C >= HIT).reshape(self._chart.rows, self._chart.columns)
            framed = np.pad(taken, 1, constant_values=True)
            far = _ndimage().distance_transform_edt(~framed)[1:-1, 1:-1]
            free_C &= far.ravel() >= cells
        self._clear = self._shared.changed, free_C
        return free_C

    def _beside_unknown(self) -> Bools:
        """Cells that are unknown, or share a side with one that is."""
        unknown = ~self._shared.known_C.reshape(self._chart.rows, self._chart.columns)
        beside = unknown.copy()
        beside[1:] |= unknown[:-1]
        beside[:-1] |= unknown[1:]
        beside[:, 1:] |= unknown[:, :-1]
        beside[:, :-1] |= unknown[:, 1:]
        return np.asarray(beside.ravel())

    def _nearest(self, position_2: Floats, passable_C: np.ndarray) -> int:
        """The drone's own cell, or the nearest that can be planned from."""
        own = int(self._chart.cells(position_2))
        if (own >= 0 and passable_C[own]) or not passable_C.any():
            return max(own, 0)
        cells = np.flatnonzero(passable_C)
        gaps = np.hypot(*(self._centres_C2[cells] - position_2).T)
        return int(cells[gaps.argmin()])


@lru_cache(maxsize=64)
def _parts(count: int) -> Floats:
    """So many points on a line, as parts of it; not to be written to."""
    parts = np.linspace(0.0, 1.0, count)
    parts.setflags(write=False)
    return parts


def _ndimage() -> Any:
    try:
        from scipy import ndimage
    except ImportError:
        raise missing_engine("scipy", "swarm") from None
    return ndimage
