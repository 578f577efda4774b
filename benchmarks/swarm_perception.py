"""Perception: targets found and false alarms of whole missions' grounds, the net beside the
matched filter, and the time of a frame on one core.

A camera is led over the ground of each mission in rows, as a search leads it, and what it finds is
gathered as a drone gathers it.
"""

from __future__ import annotations

from benchmarks.bench import Figure
from sextant.systems.swarm.drone.net.score import score
from sextant.systems.swarm.drone.perception import Detector, MatchedFilter, OnnxDetector
from sextant.systems.swarm.world.ground import CameraRule

_GROUNDS = range(20)


def judged(detector: Detector) -> tuple[float, float, float]:
    """Recall, false alarms a mission, and the median seconds of a frame."""
    told = score(detector, CameraRule(), _GROUNDS)
    return told["recall"], told["false_alarms"], told["frame_s"]


def run() -> list[Figure]:
    """The figures."""
    recall, false, frame_s = judged(OnnxDetector(CameraRule()))
    filters = {f"filter at {t:g}": judged(MatchedFilter(CameraRule(), t)) for t in (6.0, 8.0, 10.0)}
    return [
        Figure(
            name="targets found",
            measured=recall,
            unit="",
            bar=">= 0.95",
            held=recall >= 0.95,
            beside={name: found for name, (found, _, _) in filters.items()},
        ),
        Figure(
            name="false alarms a mission",
            measured=false,
            unit="",
            bar="<= 1",
            held=false <= 1.0,
            beside={name: alarms for name, (_, alarms, _) in filters.items()},
        ),
        Figure(
            name="a frame on one core",
            measured=frame_s,
            unit="s",
            bar="<= 1.5 ms",
            held=frame_s <= 1.5e-3,
            beside={name: taken for name, (_, _, taken) in filters.items()},
        ),
    ]
