"""Train the perception net: `python -m sextant.systems.swarm.drone.net.train OUT_DIR`.

A fully convolutional net of four layers looks at a patch of 32 x 32 pixels and says, on a grid of
every second pixel, how sure it is that a target's middle is there. It learns on ground that no
mission has (seeds from 10 million on). Writes `perception.onnx` and `perception.json` with the
figures, those of the matched filter beside them.

Shape suffixes: B patches, P pixels along a side, G cells of the grid along a side, T targets.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from sextant.errors import missing_engine
from sextant.systems.swarm.drone.net.score import SIDE_M, score
from sextant.systems.swarm.drone.perception import NET_THRESHOLD, MatchedFilter, OnnxDetector
from sextant.systems.swarm.world.grid import Floats
from sextant.systems.swarm.world.ground import CameraRule, Ground, texture

_FIRST_SEED = 10_000_000
_TILES, _PATCHES_A_TILE, _STEPS, _BATCH = 160, 250, 6000, 64
_NEAR_M, _CLEAR_M = 0.3, 0.8
_UNSEEN = range(_FIRST_SEED + 5000, _FIRST_SEED + 5012)


def patches(rule: CameraRule, seed: int, count: int) -> tuple[np.ndarray, list[Floats]]:
    """Patches of one ground [B, P, P], and where the targets are in each, off its middle."""
    stream = np.random.default_rng(seed)
    tile, shown, places = texture(stream), [], []
    for _ in range(count):
        at_2 = stream.uniform(0.0, 1000.0, 2)
        half = rule.view_m / 2 + rule.target_m
        targets_T2 = at_2 + stream.uniform(-half, half, (stream.integers(0, 3), 2))
        shown.append(Ground(rule, tile, targets_T2).patch(at_2, stream))
        places.append(targets_T2 - at_2)
    return np.stack(shown), places


def grid_m(rule: CameraRule) -> Floats:
    """Metres off the patch's middle of the grid's cells, along one side [G]."""
    return np.asarray((2.0 * np.arange(rule.pixels // 2) - (rule.pixels - 1) / 2) * rule.pixel_m)


def labels(rule: CameraRule, places: list[Floats]) -> tuple[np.ndarray, np.ndarray]:
    """What the net shall say [B, G, G], and how much each cell of that counts."""
    at_G = grid_m(rule)
    wanted = np.zeros((len(places), len(at_G), len(at_G)), np.float32)
    weight = np.ones_like(wanted)
    for number, targets_T2 in enumerate(places):
        for x, y in targets_T2:
            gap_GG = np.hypot(at_G[None, :] - x, at_G[:, None] - y)
            weight[number][gap_GG < _CLEAR_M] = 0.0
            hit_GG = gap_GG < _NEAR_M
            wanted[number][hit_GG] = 1.0
            weight[number][hit_GG] = 4.0
    return wanted, weight


def train(rule: CameraRule) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights and biases of the layers."""
    try:
        import torch
    except ImportError:
        raise missing_engine("torch", "rag") from None
    torch.manual_seed(0)
    torch.set_num_threads(1)
    made = [patches(rule, _FIRST_SEED + t, _PATCHES_A_TILE) for t in range(_TILES)]
    seen = torch.from_numpy(np.concatenate([shown for shown, _ in made]))[:, None]
    told = labels(rule, [targets for _, places in made for targets in places])
    wanted, weight = (torch.from_numpy(part)[:, None] for part in told)
    layers = [
        torch.nn.Conv2d(1, 12, 5, stride=2, padding=2),
        torch.nn.Conv2d(12, 16, 3, padding=1),
        torch.nn.Conv2d(16, 16, 3, padding=2, dilation=2),
        torch.nn.Conv2d(16, 1, 1),
    ]
    relus = [torch.nn.ReLU() for _ in layers[1:]]
    net = torch.nn.Sequential(*(m for pair in zip(layers, relus, strict=False) for m in pair))
    net.append(layers[-1])
    with torch.no_grad():
        layers[-1].bias.fill_(-4.0)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _STEPS)
    order = torch.Generator().manual_seed(1)
    for _ in range(_STEPS):
        rows = torch.randint(len(seen), (_BATCH,), generator=order)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            net(seen[rows]), wanted[rows], weight[rows]
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return [(c.weight.detach().numpy(), c.bias.detach().numpy()) for c in layers]


def export(weights: list[tuple[np.ndarray, np.ndarray]], rule: CameraRule, out: Path) -> None:
    """The net as ONNX."""
    try:
        from onnx import TensorProto, checker, helper, numpy_helper
    except ImportError:
        raise missing_engine("onnx", "dev") from None
    settings: list[dict[str, Any]] = [
        {"strides": [2, 2], "pads": [2] * 4},
        {"pads": [1] * 4},
        {"pads": [2] * 4, "dilations": [2, 2]},
        {},
    ]
    nodes: list[Any] = []
    kept: list[Any] = []
    last, name = len(weights) - 1, "patch"
    for layer, ((kernel, bias), how) in enumerate(zip(weights, settings, strict=True)):
        kept.append(numpy_helper.from_array(kernel, f"kernel{layer}"))
        kept.append(numpy_helper.from_array(bias, f"bias{layer}"))
        out_name = "score" if layer == last else f"sum{layer}"
        inputs = [name, f"kernel{layer}", f"bias{layer}"]
        nodes.append(helper.make_node("Conv", inputs, [out_name], **how))
        if layer < last:
            nodes.append(helper.make_node("Relu", [out_name], [f"kept{layer}"]))
        name = f"kept{layer}"
    half = rule.pixels // 2
    graph = helper.make_graph(
        nodes,
        "perception",
        [helper.make_tensor_value_info("patch", TensorProto.FLOAT, [1, 1, *[rule.pixels] * 2])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [1, 1, half, half])],
        kept,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model)
    out.write_bytes(model.SerializeToString())


def figures(rule: CameraRule, model: Path) -> dict[str, Any]:
    """What the net finds on ground that it never saw, and what the matched filter does there.

    The threshold of the net is the shipped one; those beside it say how far it could be moved.
    """
    told: dict[str, Any] = {
        "area_m2": SIDE_M**2,
        "threshold": NET_THRESHOLD,
        "grounds": len(_UNSEEN),
    }
    told["net"] = {
        f"{threshold:g}": score(OnnxDetector(rule, model, threshold), rule, _UNSEEN)
        for threshold in (NET_THRESHOLD - 2, NET_THRESHOLD, NET_THRESHOLD + 2)
    }
    told["net_at_contrast"] = {
        f"{contrast:g}": score(
            OnnxDetector(rule, model), dataclasses.replace(rule, contrast=contrast), _UNSEEN
        )
        for contrast in (2.5, 3.0)
    }
    told["matched_filter"] = {
        f"{threshold:g}": score(MatchedFilter(rule, threshold), rule, _UNSEEN)
        for threshold in (6.0, 8.0, 10.0)
    }
    return told


def main(out: Path) -> None:
    """Train, write, judge."""
    rule = CameraRule()
    export(train(rule), rule, out / "perception.onnx")
    model = out / "perception.onnx"
    told = {"camera": dataclasses.asdict(rule), "bytes": model.stat().st_size}
    told |= figures(rule, model)
    (out / "perception.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
