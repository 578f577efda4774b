"""Published runs that ship with the tests, each with its citation and a tolerance that fails."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sextant.facts import load_facts
from sextant.facts.training import load_training_facts
from sextant.laws.attention import fused_attention_s
from sextant.laws.collectives import Group, all_to_all_s
from sextant.laws.failures import mtbf_s
from sextant.laws.job import job
from sextant.laws.layout import Layout
from sextant.laws.layouts import search_layouts
from sextant.laws.machine import accelerator_of, constants_of
from sextant.laws.memory import memory_per_gpu
from sextant.laws.shape import TransformerShape
from sextant.laws.step import step_time


def gpt(layers: int, hidden: int, heads: int, vocab: int = 51200) -> TransformerShape:
    return TransformerShape(
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        ffn=4 * hidden,
        vocab=vocab,
        sequence=2048,
        mlp="gelu",
        tied_embeddings=True,
    )


GOLDEN: list[tuple[str, TransformerShape, dict[str, Any], float, float, float]] = [
    # what and where, shape, layout, node link in bytes/s, measured step in s, tolerance
    (
        "Korthikanti et al. 2022, arXiv 2205.05198, Table 5: 175B, full recompute",
        gpt(96, 12288, 96),
        {"tp": 8, "pp": 8, "interleave": 3, "global_batch": 64, "zero": 0, "recompute": "full"},
        200e9,
        18.13,
        0.10,
    ),
    (
        "Korthikanti et al. 2022, Table 5: 530B, selective, sequence parallel",
        gpt(105, 20480, 128),
        {
            "tp": 8,
            "pp": 35,
            "interleave": 3,
            "global_batch": 280,
            "zero": 0,
            "recompute": "selective",
            "sequence_parallel": True,
        },
        200e9,
        37.83,
        0.10,
    ),
    (
        "Narayanan et al. 2021, arXiv 2104.04473, Table 2: 175B, ZeRO-3 on 1,536 GPUs",
        gpt(96, 12288, 96),
        {"dp": 1536, "global_batch": 1536, "zero": 3, "recompute": "full"},
        200e9,
        66.7,
        0.20,
    ),
    (
        "BigScience tr11-176B: the production run",
        gpt(70, 14336, 112, vocab=250_880),
        {
            "tp": 4,
            "pp": 12,
            "dp": 8,
            "micro_batch": 2,
            "global_batch": 2048,
            "zero": 1,
            "recompute": "full",
            "embeddings_as_layers": True,
            "gradient_bytes": 4,
        },
        50e9,
        104.7,
        0.08,
    ),
]


@pytest.mark.parametrize("run", GOLDEN, ids=[run[0] for run in GOLDEN])
def test_step_time(run: tuple[str, TransformerShape, dict[str, Any], float, float, float]) -> None:
    _, shape, layout, link, measured, tolerance = run
    training = load_training_facts()
    machine = accelerator_of(load_facts().machine("a100"), training, node_link_bytes_per_s=link)
    found = step_time(
        shape,
        Layout(**{"sequence_parallel": False, **layout}),
        machine,
        "fp16",
        constants=constants_of(training),
    )
    assert found.total_s == pytest.approx(measured, rel=tolerance)


@pytest.mark.parametrize(
    ("recompute", "sequence_parallel", "gigabytes"),
    [("none", False, 71.77), ("selective", True, 13.26), ("full", False, 6.25)],
)
def test_activations(recompute: str, sequence_parallel: bool, gigabytes: float) -> None:
    # Korthikanti et al. 2022, Figures 1 and 7: 175B, fullest stage.
    training = load_training_facts()
    layout = Layout(
        tp=8,
        pp=8,
        interleave=3,
        global_batch=64,
        zero=0,
        recompute=recompute,
        sequence_parallel=sequence_parallel,
    )
    machine = accelerator_of(load_facts().machine("a100"), training)
    found = memory_per_gpu(
        gpt(96, 12288, 96), layout, machine, "fp16", constants=constants_of(training)
    )
    assert found.activations_bytes == pytest.approx(gigabytes * 1e9, rel=0.01)


@pytest.mark.parametrize(
    ("gpus", "hours", "tolerance"),
    [
        # Kokolis et al. 2025, arXiv 2410.21680: projections of the node rate, exact.
        (16_384, 1.8, 0.01),
        (131_072, 0.23, 0.03),
    ],
)
def test_failures_that_follow_the_node_rate(gpus: int, hours: float, tolerance: float) -> None:
    found = mtbf_s(gpus / 8, 6.50 / 1000 / 86400)
    assert found == pytest.approx(hours * 3600, rel=tolerance)


@pytest.mark.parametrize(("gpus", "hours", "factor"), [(8, 1144.8, 3.2), (1024, 7.9, 3.6)])
def test_failures_that_come_sooner_than_the_node_rate(
    gpus: int, hours: float, factor: float
) -> None:
    # The same source: observed, and shorter than its own formula says.
    found = mtbf_s(gpus / 8, 6.50 / 1000 / 86400)
    assert found / (hours * 3600) == pytest.approx(factor, rel=0.03)


@pytest.mark.parametrize(
    ("generation", "precision", "measured", "peak"),
    [
        # Bekman, Machine Learning Engineering, accelerator chapter: best matrix product, TFLOP/s.
        ("ampere", "bf16", 271.2, 312.0),
        ("hopper", "bf16", 794.5, 989.0),
        ("hopper", "fp8", 1402.6, 1979.0),
        ("blackwell", "bf16", 1745.0, 2250.0),
        ("blackwell", "fp8", 3432.5, 4500.0),
        ("blackwell-ultra", "bf16", 1769.0, 2250.0),
        ("blackwell-ultra", "fp8", 3353.3, 4500.0),
        ("blackwell-superchip", "bf16", 1822.0, 2500.0),
        ("blackwell-superchip", "fp8", 3615.6, 5000.0),
    ],
)
def test_curves_are_what_was_measured(
    generation: str, precision: str, measured: float, peak: float
) -> None:
    ceiling = load_training_facts().generation[generation]["matmul_ceiling"][precision]
    assert ceiling == pytest.approx(measured / peak, abs=0.001)


@pytest.mark.parametrize(
    ("kernel", "measured"),
    [
        # Shah et al. 2024, arXiv 2407.08608, figure 5: forward, causal, head width 128, H100,
        # at 1k, 2k, 4k, 8k and 16k tokens, TFLOP/s.
        ("native", (260, 298, 319, 333, 335)),  # FlashAttention-2
        ("vendor", (410, 484, 518, 529, 539)),  # cuDNN
    ],
)
def test_attention_forward(kernel: str, measured: tuple[float, ...]) -> None:
    training = load_training_facts()
    machine = accelerator_of(load_facts().machine("h100"), training)
    layout = Layout(dp=8, zero=3 if kernel == "native" else 1)
    for sequence, tera in zip((1024, 2048, 4096, 8192, 16384), measured, strict=True):
        shape = TransformerShape(
            layers=1, hidden=2048, heads=16, kv_heads=16, ffn=8192, vocab=1024, sequence=sequence
        )
        one = job(shape, replace(layout, micro_batch=16384 // sequence), machine)
        forward, _ = fused_attention_s(one, constants_of(training))
        flops = 4.0 * 16384 * sequence / 2.0 * 2048
        assert flops / float(forward) == pytest.approx(tera * 1e12, rel=0.08), sequence


@pytest.mark.parametrize(
    ("generation", "watts", "best"),
    [
        ("blackwell", 1000, 1745.0),
        ("blackwell-ultra", 1100, 1769.0),
        ("blackwell-ultra-superchip", 1400, 1822.0),
    ],
)
def test_a_chip_s_clock_follows_its_power(generation: str, watts: float, best: float) -> None:
    # Dynamic power goes with the clock's power of 2.5 (Horowitz 2014, ISSCC); GB200 has 1,200 W.
    clock = ((watts - 360) / best / ((1200 - 360) / 1822.0)) ** 0.4
    assert load_training_facts().generation[generation]["clock"] == pytest.approx(clock, abs=0.001)


def test_llama_3_s_layout_is_the_planner_s() -> None:
    # Llama Team 2024, arXiv 2407.21783, Table 4: 405B on 16,384 H100s, 400 TFLOP/s each.
    training = load_training_facts()
    machine = accelerator_of(load_facts().machine("h100"), training)
    shape = TransformerShape(
        layers=126, hidden=16384, heads=128, kv_heads=8, ffn=53248, vocab=128_256, sequence=8192
    )
    found = search_layouts(shape, 16384, machine, 2048, constants=constants_of(training))
    best = found.best[0]
    assert (best.layout.tp, best.layout.pp, best.layout.dp) == (8, 16, 128)
    assert best.layout.recompute == "none"
    per_gpu = shape.flops_per_token() * 2048 * 8192 / 16384 / best.step_s
    assert per_gpu == pytest.approx(400e12, rel=0.10)


@pytest.mark.parametrize(
    ("gpus", "bandwidth", "tolerance"),
    [
        # DeepEP, docs/legacy.md: dispatch on H800, bandwidth of the bottleneck link in bytes/s;
        # eight GPUs use NVLink (200 GB/s), more the network (50 GB/s a GPU).
        (8, 153e9, 0.05),
        (16, 43e9, 0.15),
        (64, 51e9, 0.30),
    ],
)
def test_all_to_all(gpus: int, bandwidth: float, tolerance: float) -> None:
    training = load_training_facts()
    machine = accelerator_of(load_facts().machine("h800"), training)
    one = job(gpt(1, 7168, 56), Layout(), machine)
    ranks = Group(size=np.array(float(gpus)), local=np.array(8.0))
    sent = np.array(1e9)
    crosses = 1e9 * (1.0 - 8.0 / gpus) if gpus > 8 else 1e9 * 7.0 / 8.0
    seconds = all_to_all_s(sent, ranks, one, constants_of(training))
    assert crosses / float(seconds) == pytest.approx(bandwidth, rel=tolerance)
