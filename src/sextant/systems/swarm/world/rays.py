"""Casting rays through a layer, all at once and to the exact edge of the cell that is hit.

Shape suffixes: N rays.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from sextant.systems.swarm.world.grid import ROOT_2, Floats, Layer

_NUDGE = 1e-9
_ALONG = 1e-12


def cast(layer: Layer, starts_N2: Floats, ways_N2: Floats, reach_m: float) -> Floats:
    """Metres from each start to the first blocked cell along a unit vector; infinite if farther.

    From cell border to cell border, but for stretches that the clearance says are free.
    Source: Amanatides and Woo 1987; Hart 1996 (sphere tracing).
    """
    ranges_N = np.full(len(starts_N2), np.inf)
    far_N = np.zeros(len(starts_N2))
    live = np.arange(len(starts_N2))
    slack = ROOT_2 * layer.cell_m
    with np.errstate(divide="ignore", invalid="ignore"):
        while live.size:
            far = far_N[live]
            points = starts_N2[live] + (far + _NUDGE)[:, None] * ways_N2[live]
            rows, columns = layer.cells(points)
            hit = layer.blocked(rows, columns)
            ranges_N[live[hit]] = far[hit]
            live, far, points = live[~hit], far[~hit], points[~hit]
            rows, columns = rows[~hit], columns[~hit]
            corner = layer.centres(rows, columns) - 0.5 * layer.cell_m
            ways = ways_N2[live]
            edge = np.where(ways > 0, corner + layer.cell_m, corner)
            # One that runs along a border, but for rounding, never comes to it.
            along = np.abs(ways) < _ALONG
            leave = np.where(along, np.inf, (edge - starts_N2[live]) / ways).min(axis=1)
            free = far + layer.clearance_RC[rows, columns] - slack
            far_N[live] = np.maximum(np.maximum(leave, free), far + _NUDGE)
            live = live[far_N[live] <= reach_m]
    ranges_N[ranges_N > reach_m] = np.inf
    return ranges_N


def cast_at_discs(starts_N2: Floats, ways_N2: Floats, discs_NM2: Floats, radius_m: float) -> Floats:
    """Metres from each start to the first of its own M discs along a unit vector; else infinite."""
    to_NM2 = discs_NM2 - starts_N2[:, None]
    along_NM = (to_NM2 * ways_N2[:, None]).sum(axis=-1)
    under_NM = radius_m**2 - ((to_NM2**2).sum(axis=-1) - along_NM**2)
    hit_NM = (under_NM >= 0) & (along_NM > 0)
    far_NM = np.where(hit_NM, along_NM - np.sqrt(np.maximum(under_NM, 0.0)), np.inf)
    return np.asarray(np.maximum(far_NM, 0.0).min(axis=1, initial=np.inf))


@lru_cache(maxsize=8)
def fan(count: int, turn: float = 0.0) -> Floats:
    """Unit vectors all around [count, 2], the first at the angle `turn`; not to be written to."""
    angles = turn + np.arange(count) * (2.0 * np.pi / count)
    ways = np.empty((count, 2))
    np.cos(angles, out=ways[:, 0])
    np.sin(angles, out=ways[:, 1])
    ways.setflags(write=False)
    return ways
