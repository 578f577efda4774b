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

    From cell border to cell border, but for stretches that the clearance says are free. Rays that
    have ended are carried along: for some hundred it costs less than to leave them out.
    Source: Amanatides and Woo 1987; Hart 1996 (sphere tracing).
    """
    ranges_N = np.full(len(starts_N2), np.inf)
    far_N = np.zeros(len(starts_N2))
    live_N = np.ones(len(starts_N2), np.bool_)
    cell_m, origin_2, slack = layer.cell_m, np.asarray(layer.origin_m), ROOT_2 * layer.cell_m
    clearance, most_2, columns = layer.framed_clearance
    # One that runs along a border, but for rounding, never comes to it.
    along_N2 = np.abs(ways_N2) < _ALONG
    is_along = bool(along_N2.any())
    beyond_N2 = np.where(ways_N2 > 0, cell_m, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        while live_N.any():
            in_N = far_N + _NUDGE
            cells_N2 = np.floor((starts_N2 + in_N[:, None] * ways_N2 - origin_2) / cell_m)
            at_N2 = np.minimum(np.maximum(cells_N2, -1.0), most_2).astype(np.int64)
            clear_N = clearance[(at_N2[:, 1] + 1) * columns + (at_N2[:, 0] + 1)]
            blocked_N = clear_N == 0.0
            np.copyto(ranges_N, far_N, where=live_N & blocked_N)
            corner_N2 = (cells_N2 + 0.5) * cell_m + origin_2 - 0.5 * cell_m
            leave_N2 = (corner_N2 + beyond_N2 - starts_N2) / ways_N2
            if is_along:
                leave_N2[along_N2] = np.inf
            leave_N = np.minimum(leave_N2[:, 0], leave_N2[:, 1])
            next_N = np.maximum(np.maximum(leave_N, far_N + clear_N - slack), in_N)
            live_N &= ~blocked_N
            np.copyto(far_N, next_N, where=live_N)
            live_N &= next_N <= reach_m
    ranges_N[ranges_N > reach_m] = np.inf
    return ranges_N


def cast_at_discs(starts_N2: Floats, ways_N2: Floats, discs_NM2: Floats, radius_m: float) -> Floats:
    """Metres from each start to the first of its own M discs along a unit vector; else infinite."""
    across_NM = discs_NM2[..., 0] - starts_N2[:, :1]
    up_NM = discs_NM2[..., 1] - starts_N2[:, 1:]
    along_NM = across_NM * ways_N2[:, :1] + up_NM * ways_N2[:, 1:]
    under_NM = radius_m**2 - (across_NM**2 + up_NM**2 - along_NM**2)
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
