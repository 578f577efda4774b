"""The shipped net: small, at its figures, and better than a matched filter."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from sextant.systems.swarm.drone.net import train
from sextant.systems.swarm.drone.net.score import score
from sextant.systems.swarm.drone.perception import NET_FILE, MatchedFilter, OnnxDetector
from sextant.systems.swarm.world.ground import CameraRule, Ground

RULE = CameraRule()


def test_a_target_is_seen_where_it_is_and_nothing_where_none_is() -> None:
    net, stream = OnnxDetector(RULE), np.random.default_rng(1)
    plain, at_2 = np.zeros((256, 256)), np.array([0.7, -1.1])
    (seen,) = net.detect(Ground(RULE, plain, at_2[None]).patch(np.zeros(2), stream))
    assert np.hypot(*(seen.offset_2 - at_2)) < 0.4
    assert net.detect(Ground(RULE, plain, np.zeros((0, 2))).patch(np.zeros(2), stream)) == []


def test_the_engine_writes_no_file_that_drones_would_share(tmp_path: Path) -> None:
    sees = """
import numpy as np
from sextant.systems.swarm.drone.perception import OnnxDetector
from sextant.systems.swarm.world.ground import CameraRule

rule = CameraRule()
OnnxDetector(rule).detect(np.zeros((rule.pixels, rule.pixels)))
"""
    env = {**os.environ, "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "XDG_CACHE_HOME": ""}
    env.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", sees], env=env, timeout=120, check=True)
    assert not list(tmp_path.rglob("*"))


def test_on_unseen_ground_it_is_at_its_bar_and_the_filter_is_not() -> None:
    grounds = range(70, 73)
    net = score(OnnxDetector(RULE), RULE, grounds)
    assert net["recall"] >= 0.95
    assert net["false_alarms"] <= 1.0
    beside = [score(MatchedFilter(RULE, threshold), RULE, grounds) for threshold in (7.0, 10.0)]
    assert all(one["recall"] < 0.95 or one["false_alarms"] > 1.0 for one in beside)


def test_its_figures_are_those_of_this_camera() -> None:
    told = json.loads(NET_FILE.with_suffix(".json").read_text(encoding="utf-8"))
    assert told["camera"] == dataclasses.asdict(RULE)
    assert told["bytes"] == NET_FILE.stat().st_size < 200_000
    shipped = told["net"][f"{told['threshold']:g}"]
    assert shipped["recall"] >= 0.95
    assert shipped["false_alarms"] <= 1.0


def test_labels_lie_on_the_targets() -> None:
    at_2 = np.array([[1.0, -0.5]])
    wanted, weight = train.labels(RULE, [at_2, np.zeros((0, 2))])
    grid = train.grid_m(RULE)
    rows, columns = np.nonzero(wanted[0])
    gaps = np.hypot(grid[columns] - 1.0, grid[rows] + 0.5)
    assert len(rows) > 0
    assert gaps.max() < 0.3
    assert (weight[0] == 0.0).any()
    assert wanted[1].max() == 0.0


def test_the_script_trains_and_writes_a_net(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("torch")
    for name, value in {"_TILES": 2, "_PATCHES_A_TILE": 20, "_STEPS": 3, "_BATCH": 8}.items():
        monkeypatch.setattr(train, name, value)
    weights = train.train(RULE)
    out = tmp_path / "net.onnx"
    train.export(weights, RULE, out)
    again = train.train(RULE)
    for (one, _), (other, _) in zip(weights, again, strict=True):
        np.testing.assert_array_equal(one, other)
    patch = Ground(RULE, np.zeros((256, 256)), np.zeros((0, 2))).patch(
        np.zeros(2), np.random.default_rng(0)
    )
    assert OnnxDetector(RULE, out, threshold=1e9).detect(patch) == []
