"""Shortest ways over the cells of a chart.

Shape suffixes: P cells of the chart in a frame of one more on each side, C cells of the chart.
"""

from __future__ import annotations

import numpy as np

from sextant.errors import missing_engine
from sextant.systems.swarm.drone.chart import Cells, Chart
from sextant.systems.swarm.world.grid import Bools, Floats

_DETOUR_M = 8.0
_STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))


class Roads:
    """The graph of all steps between neighbouring cells, laid out once: a plan only says which of
    them are closed, by an infinite length. The frame gives every cell eight neighbours.
    """

    def __init__(self, chart: Chart) -> None:
        self._chart = chart
        self._rows, self._columns = chart.rows + 2, chart.columns + 2
        count = self._rows * self._columns
        away = [down * self._columns + across for down, across in _STEPS]
        steps = np.array([step for one in away for step in (one, -one)])
        to = (np.arange(count)[:, None] + steps) % count
        self._to = to.ravel().astype(np.int32)
        self._starts = (len(steps) * np.arange(count + 1)).astype(np.int32)
        cells = np.full((self._rows, self._columns), -1, np.int64)
        cells[1:-1, 1:-1] = np.arange(chart.num_cells).reshape(chart.rows, chart.columns)
        self._cells_P = cells.ravel()

    def shortest(self, passable_C: Bools, start: int, beside_C: Bools) -> tuple[Floats, Cells]:
        """Dijkstra over eight neighbours; a diagonal needs both cells beside it free.

        Args:
            passable_C: cells that may be flown over; the start may always.
            start: where from.
            beside_C: a step into or out of such a cell counts for more, half for each.

        Returns:
            Metres to every cell, and the cell before it on the way.
        """
        try:
            from scipy.sparse import csr_array
            from scipy.sparse.csgraph import dijkstra
        except ImportError:
            raise missing_engine("scipy", "swarm") from None
        metres = self._lengths(passable_C, start, beside_C).ravel()
        count = self._rows * self._columns
        graph = csr_array((metres, self._to, self._starts), shape=(count, count))
        row, column = divmod(start, self._chart.columns)
        at = (row + 1) * self._columns + column + 1
        # The graph has every step both ways, so there is nothing to be mirrored.
        metres_P, before_P = dijkstra(graph, indices=at, return_predecessors=True)
        inside = np.s_[1:-1, 1:-1]
        before = self._cells_P[np.maximum(before_P, 0)].reshape(self._rows, -1)[inside]
        return metres_P.reshape(self._rows, -1)[inside].ravel(), before.ravel()

    def _lengths(self, passable_C: Bools, start: int, beside_C: Bools) -> Floats:
        """The length of each step of each cell, one way and the other by turns."""
        free = self._framed(passable_C)
        free[1:-1, 1:-1].flat[start] = True
        slow = self._framed(beside_C) if beside_C.any() else None
        lengths = np.full((self._rows, self._columns, 2 * len(_STEPS)), np.inf)
        for number, (down, across) in enumerate(_STEPS):
            left, right = max(0, -across), self._columns - max(0, across)
            here = slice(0, self._rows - down), slice(left, right)
            there = slice(down, None), slice(left + across, right + across)
            open_ = free[here] & free[there]
            if down and across:
                open_ &= free[here[0], there[1]] & free[there[0], here[1]]
            metres = np.where(open_, self._chart.cell_m * np.hypot(down, across), np.inf)
            if slow is not None:
                metres += 0.5 * _DETOUR_M * (slow[here].astype(np.int8) + slow[there])
            lengths[*here, 2 * number] = metres
            lengths[*there, 2 * number + 1] = metres
        return lengths

    def _framed(self, cells_C: Bools) -> Bools:
        framed = np.zeros((self._rows, self._columns), np.bool_)
        framed[1:-1, 1:-1] = cells_C.reshape(self._chart.rows, self._chart.columns)
        return framed
