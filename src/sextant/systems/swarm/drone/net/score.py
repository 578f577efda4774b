"""What a detector is worth to a mission: a camera is led over ground in rows, as a search leads it,
and what it sights is gathered as a drone gathers it.

Shape suffixes: T targets, F finds.
"""

from __future__ import annotations

import time

import numpy as np

from sextant.systems.swarm.agreement.targets import Targets
from sextant.systems.swarm.drone.perception import Detector
from sextant.systems.swarm.world.ground import CameraRule, Ground, texture
from sextant.systems.swarm.world.sensors import Drift, SensorRule, bounded_normal

SIDE_M = 40.0
_TARGETS = 12
_LANE_M, _STEP_M, _FRAME_S = 3.0, 0.5, 0.2
_FOUND_M = 1.0


def fly_over(detector: Detector, rule: CameraRule, seed: int) -> tuple[int, int, list[float]]:
    """Targets found, false alarms, and seconds of each frame, over one ground."""
    stream, sensors = np.random.default_rng((seed, 77)), SensorRule()
    targets_T2 = stream.uniform(1.0, SIDE_M - 1.0, (_TARGETS, 2))
    ground, gathered = Ground(rule, texture(stream), targets_T2), Targets(0)
    drift, taken_s = Drift(sensors, [stream]), []
    for lane, y in enumerate(np.arange(_LANE_M / 2, SIDE_M, _LANE_M)):
        along = np.arange(0.0, SIDE_M, _STEP_M)
        for x in along if lane % 2 == 0 else along[::-1]:
            at_2 = np.array([x, y])
            drift.step(_FRAME_S)
            told_2 = at_2 + drift.error_N2[0] + bounded_normal(stream, 2, sensors.position_noise_m)
            patch_PP = ground.patch(at_2, stream)
            begun_s = time.perf_counter()
            sightings = detector.detect(patch_PP)
            taken_s.append(time.perf_counter() - begun_s)
            for sighting in sightings:
                gathered.see(told_2 + sighting.offset_2)
    finds_F2 = np.array(gathered.confirmed()).reshape(-1, 2)
    gaps_TF = np.hypot(*(targets_T2[:, None] - finds_F2[None]).transpose(2, 0, 1))
    hits = int((gaps_TF.min(axis=1, initial=9.9) < _FOUND_M).sum())
    false = int((gaps_TF.min(axis=0, initial=9.9) >= _FOUND_M).sum())
    return hits, false, taken_s


def score(detector: Detector, rule: CameraRule, seeds: range) -> dict[str, float]:
    """Recall, false alarms a ground of SIDE_M x SIDE_M, and the median of a frame."""
    told = [fly_over(detector, rule, seed) for seed in seeds]
    return {
        "recall": round(sum(hits for hits, _, _ in told) / (_TARGETS * len(told)), 4),
        "false_alarms": round(sum(false for _, false, _ in told) / len(told), 3),
        "frame_s": round(float(np.median([s for _, _, taken in told for s in taken])), 6),
    }
