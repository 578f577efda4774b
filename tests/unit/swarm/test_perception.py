"""The shipped net finds targets better than the matched filter, and its figures are beside it."""

import json

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from sextant.systems.swarm.drone.net.train import judge, labels, patches
from sextant.systems.swarm.drone.perception import NET_FILE, MatchedFilter, OnnxDetector
from sextant.systems.swarm.world.ground import CameraRule, Ground

RULE = CameraRule()


def test_a_target_on_plain_ground_is_seen_where_it_is() -> None:
    target = np.array([[0.7, -0.4]])
    ground = Ground(RULE, np.zeros((256, 256)), target)
    patch = ground.patch(np.zeros(2), np.random.default_rng(0))
    (sighting,) = OnnxDetector(RULE).detect(patch)
    assert np.hypot(*(sighting.offset_2 - target[0])) < 0.4


def test_labels_lie_where_the_targets_are() -> None:
    wanted, weight = labels(RULE, [np.array([[1.0, 0.0]]), np.empty((0, 2))])
    row, column = np.argwhere(wanted[0] > 0).mean(axis=0)
    assert column > 8 > row - 1.0
    assert abs(row - 7.75) < 1.0
    assert wanted[1].sum() == 0
    assert (weight[0] == 0).any()


def test_on_unseen_ground_the_net_is_better_than_the_filter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from sextant.systems.swarm.drone.net import train

    monkeypatch.setattr(train, "_JUDGED_TILES", 4)
    monkeypatch.setattr(train, "_JUDGED_PATCHES", 60)
    net, plain = judge(OnnxDetector(RULE), RULE), judge(MatchedFilter(RULE, 8.0), RULE)
    assert net["recall"] > plain["recall"] + 0.1
    assert net["false_alarms_a_patch"] <= plain["false_alarms_a_patch"] + 0.01
    assert NET_FILE.stat().st_size < 200_000
    assert json.loads(NET_FILE.with_suffix(".json").read_text())["net"]


def test_patches_are_the_same_for_the_same_seed() -> None:
    one, other = patches(RULE, 5, 3), patches(RULE, 5, 3)
    np.testing.assert_array_equal(one[0], other[0])
    assert not np.array_equal(one[0], patches(RULE, 6, 3)[0])
