"""Perception: targets in the camera's patch.

Shape suffixes: P pixels along a side of the patch.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sextant.errors import missing_engine
from sextant.systems.swarm.world.grid import Floats
from sextant.systems.swarm.world.ground import CameraRule, blob

NET_FILE = Path(__file__).parent / "net" / "perception.onnx"
NET_THRESHOLD = 5.0
"""The log-odds from which a peak of the net is a sighting."""


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


class OnnxDetector:
    """The project's net; `net/train.py` makes it, `net/perception.json` has its figures."""

    def __init__(
        self, rule: CameraRule, file: Path = NET_FILE, threshold: float = NET_THRESHOLD
    ) -> None:
        """Load the net.

        Raises:
            EngineError: ONNX Runtime is not installed.
        """
        # Else it keeps a database that all drones of a machine share, and tells its maker of them.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        try:
            import onnxruntime
        except ImportError:
            raise missing_engine("onnxruntime", "swarm") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._net: Any = onnxruntime.InferenceSession(
            file.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
        self._rule, self._threshold = rule, threshold

    def detect(self, patch_PP: np.ndarray) -> list[Sighting]:
        """Peaks of the net's score, which has a cell for every second pixel."""
        (score,) = self._net.run(None, {"patch": patch_PP.astype(np.float32)[None, None]})
        middle = (self._rule.pixels - 1) / 4
        return peaks(score[0, 0], self._rule, self._threshold, cell_pixels=2, middle=middle)


def peaks(
    score_PP: np.ndarray,
    rule: CameraRule,
    threshold: float,
    *,
    cell_pixels: int = 1,
    middle: float | None = None,
) -> list[Sighting]:
    """The highest points of a score map, none within a target's breadth of a higher one.

    Args:
        score_PP: a score for each cell.
        rule: of the camera.
        threshold: the least score.
        cell_pixels: pixels along a side of a cell.
        middle: where among the cells the patch's middle is; that of the map by default.
    """
    cell_m = rule.pixel_m * cell_pixels
    rim = max(1, round(rule.target_m / cell_m))
    middle = (len(score_PP) - 1) / 2 if middle is None else middle
    left_PP = np.full_like(score_PP, -np.inf)
    left_PP[rim:-rim, rim:-rim] = score_PP[rim:-rim, rim:-rim]
    found = []
    while (score := float(left_PP.max())) >= threshold:
        row, column = np.unravel_index(int(left_PP.argmax()), left_PP.shape)
        offset_2 = (np.array([column, row]) - middle) * cell_m
        found.append(Sighting(offset_2=offset_2, score=score))
        low = max(0, row - 2 * rim), max(0, column - 2 * rim)
        left_PP[low[0] : row + 2 * rim + 1, low[1] : column + 2 * rim + 1] = -np.inf
    return found
