"""What the camera sees below: textured ground, noise, and targets of a stated contrast.

Shape suffixes: P pixels along a side of the patch, T targets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sextant.systems.swarm.world.grid import Floats

TILE = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class CameraRule:
    """A camera that looks straight down.

    Attributes:
        pixels: along a side of the square patch.
        view_m: metres of ground along a side.
        noise: standard deviation of a pixel; the texture's is 1.
        contrast: how much brighter a target's middle is than the ground, in the same unit. At 3.5
            the best linear detector (which whitens the texture) stands 7 deviations above it in one
            frame, at 2.5 only 5: there it finds 0.95 of the targets at 13 false alarms a 1000 m2.
        target_m: radius of a target.
    """

    pixels: int = 32
    view_m: float = 6.0
    noise: float = 0.5
    contrast: float = 3.5
    target_m: float = 0.5

    @property
    def pixel_m(self) -> float:
        """Metres of ground a pixel."""
        return self.view_m / self.pixels


def texture(stream: np.random.Generator) -> Floats:
    """A tile of ground [TILE, TILE] that repeats: noise with a 1/f amplitude, deviation 1."""
    white = stream.standard_normal((TILE, TILE))
    across = np.fft.fftfreq(TILE)[:, None]
    down = np.fft.rfftfreq(TILE)[None, :]
    frequency = np.hypot(across, down)
    frequency[0, 0] = np.inf
    tile = np.fft.irfft2(np.fft.rfft2(white) / frequency, s=(TILE, TILE))
    return np.asarray((tile - tile.mean()) / tile.std())


class Ground:
    """The ground of one world; `targets_T2` are where the targets lie."""

    def __init__(self, rule: CameraRule, tile: Floats, targets_T2: Floats) -> None:
        self.rule = rule
        self.targets_T2 = targets_T2
        self._tile = tile
        middle = (rule.pixels - 1) / 2
        self._offsets_P = (np.arange(rule.pixels) - middle) * rule.pixel_m

    def patch(self, position_2: Floats, stream: np.random.Generator) -> np.ndarray:
        """What a drone at `position_2` sees [P, P] in float32, row 0 at the smallest y."""
        xs_P, ys_P = position_2[0] + self._offsets_P, position_2[1] + self._offsets_P
        columns = np.floor(xs_P / self.rule.pixel_m).astype(np.int64) % TILE
        rows = np.floor(ys_P / self.rule.pixel_m).astype(np.int64) % TILE
        seen = self._tile[np.ix_(rows, columns)].copy()
        reach = self.rule.view_m / 2 + 3 * self.rule.target_m
        near = np.abs(self.targets_T2 - position_2).max(axis=1, initial=0.0) < reach
        for x, y in self.targets_T2[near]:
            seen += self.rule.contrast * blob(xs_P - x, ys_P - y, self.rule.target_m)
        seen += self.rule.noise * stream.standard_normal(seen.shape)
        return seen.astype(np.float32)


def blob(xs_P: Floats, ys_P: Floats, radius_m: float) -> Floats:
    """A target's brightness over a patch [P, P]: 1 in the middle, a ring of shadow around it."""
    square = (xs_P[None, :] ** 2 + ys_P[:, None] ** 2) / radius_m**2
    return np.asarray((1.0 - 0.5 * square) * np.exp(-0.5 * square))
