"""Perception: targets in the camera's patch.

Shape suffixes: P pixels along a side of the patch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sextant.systems.swarm.world.grid import Floats
from sextant.systems.swarm.world.ground import CameraRule, blob


@dataclass(frozen=True, kw_only=True, slots=True)
class Sighting:
    """A target in a patch: metres from its middle, and how sure."""

    offset_2: Floats
    score: float


class Detector(Protocol):
    """Finds targets in a patch."""

    def detect(self, patch_PP: np.ndarray) -> list[Sighting]:
        """The targets seen, each once."""
        ...


class MatchedFilter:
    """The best linear detector in white noise: correlate with a target's shape.

    Source: Turin 1960, An introduction to matched filters.
    """

    def __init__(self, rule: CameraRule, threshold: float = 6.0) -> None:
        self._rule, self._threshold = rule, threshold
        half = rule.pixels // 2
        xs_P = (np.arange(rule.pixels) - half).astype(np.float64) * rule.pixel_m
        shape_PP = blob(xs_P, xs_P, rule.target_m)
        shape_PP -= shape_PP.mean()
        spectrum = np.fft.rfft2(np.fft.ifftshift(shape_PP / np.linalg.norm(shape_PP)))
        self._spectrum = np.conj(spectrum)

    def detect(self, patch_PP: np.ndarray) -> list[Sighting]:
        """Peaks of the correlation above the threshold, off the patch's rim."""
        flat_PP = patch_PP - patch_PP.mean()
        likeness_PP = np.fft.irfft2(np.fft.rfft2(flat_PP) * self._spectrum, s=patch_PP.shape)
        return peaks(likeness_PP, self._rule, self._threshold)


def peaks(score_PP: np.ndarray, rule: CameraRule, threshold: float) -> list[Sighting]:
    """The highest points of a score map, none within a target's breadth of a higher one."""
    rim = max(1, round(rule.target_m / rule.pixel_m))
    left_PP = np.full_like(score_PP, -np.inf)
    left_PP[rim:-rim, rim:-rim] = score_PP[rim:-rim, rim:-rim]
    found = []
    while (score := float(left_PP.max())) >= threshold:
        row, column = np.unravel_index(int(left_PP.argmax()), left_PP.shape)
        middle = (rule.pixels - 1) / 2
        offset_2 = (np.array([column, row]) - middle) * rule.pixel_m
        found.append(Sighting(offset_2=offset_2, score=score))
        low = max(0, row - 2 * rim), max(0, column - 2 * rim)
        left_PP[low[0] : row + 2 * rim + 1, low[1] : column + 2 * rim + 1] = -np.inf
    return found
