"""Perception: targets found and false alarms of whole missions' grounds, the net beside the
matched filter, and the time of a frame on one core.

A camera is led over the ground of each mission in rows, as a search leads it, and what it finds is
gathered as a drone gathers it.
"""

from __future__ import annotations

import time

import numpy as np

from benchmarks.bench import Figure
from sextant.systems.swarm.agreement.targets import Targets
from sextant.systems.swarm.drone.perception import Detector, MatchedFilter, OnnxDetector
from sextant.systems.swarm.world.ground import CameraRule, Ground, texture

_MISSIONS, _TARGETS, _SIDE_M = 20, 6, 32.0
_ROWS_M, _STEP_M, _FOUND_M = 2.5, 0.6, 1.0


def fly_over(detector: Detector, seed: int) -> tuple[int, int, list[float]]:
    """Targets found, false alarms, and the seconds of each frame, of one mission."""
    stream, rule = np.random.default_rng((seed, 77)), CameraRule()
    targets_T2 = stream.uniform(1.0, _SIDE_M - 1.0, (_TARGETS, 2))
    ground, found, taken_s = Ground(rule, texture(stream), targets_T2), Targets(0), []
    for y in np.arange(1.0, _SIDE_M, _ROWS_M):
        for x in np.arange(1.0, _SIDE_M, _STEP_M):
            at_2 = np.array([x, y]) + stream.normal(0.0, 0.05, 2)
            patch_PP = ground.patch(at_2, stream)
            begun_s = time.perf_counter()
            sightings = detector.detect(patch_PP)
            taken_s.append(time.perf_counter() - begun_s)
            for sighting in sightings:
                found.see(at_2 + sighting.offset_2)
    spots = np.array(found.confirmed()).reshape(-1, 2)
    gaps_TS = np.hypot(*(targets_T2[:, None] - spots[None]).transpose(2, 0, 1))
    hits = int((gaps_TS.min(axis=1, initial=9.9) < _FOUND_M).sum())
    false = int((gaps_TS.min(axis=0, initial=9.9) >= _FOUND_M).sum())
    return hits, false, taken_s


def judged(detector: Detector) -> tuple[float, float, float]:
    """Recall, false alarms a mission, and the median seconds of a frame."""
    told = [fly_over(detector, seed) for seed in range(_MISSIONS)]
    recall = sum(hits for hits, _, _ in told) / (_MISSIONS * _TARGETS)
    false = sum(false for _, false, _ in told) / _MISSIONS
    return recall, false, float(np.median([s for _, _, taken in told for s in taken]))


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
