"""Matrix products and the attention core: by hand, and never above the roofline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sextant.facts import load_facts
from sextant.facts.training import load_training_facts
from sextant.laws.accelerator import Accelerator
from sextant.laws.attention import fused_attention_s, keys_per_query, unfused_attention_s
from sextant.laws.constants import Constants
from sextant.laws.job import Job, job
from sextant.laws.layout import Layout
from sextant.laws.machine import accelerator_of, constants_of
from sextant.laws.matmul import matmul_s, roofline_s, training_matmul_s
from sextant.laws.shape import TransformerShape

FACTS, TRAINING = load_facts(), load_training_facts()
MACHINES = sorted(name for name, m in FACTS.machines.items() if m.kind == "accelerator-node")
SIZES = st.integers(1, 65536)


def a_job(machine: str, precision: str, shape: TransformerShape) -> Job:
    return job(shape, Layout(), accelerator_of(FACTS.machine(machine), TRAINING), precision)


def test_a_product_by_hand(
    a100: Accelerator, constants: Constants, llama_8b: TransformerShape
) -> None:
    one = job(llama_8b, Layout(), a100)
    plain = replace(constants, wave_rounding=1.0, depth_half=128.0, kernel_s=5e-6)
    # 4,096 x 4,096: 32 x 16 tiles of 128 x 256 on 108 processors = 4.74 waves, felt as 5.
    rounded = 5.0 / (512.0 / 108.0)
    flops = 2.0 * 4096**3 * rounded * (1.0 + 128.0 / 4096.0)
    expected = flops / 250e12 + 5e-6
    size = np.array(4096.0)
    found = matmul_s(size, size, size, one, plain, flops_per_s=np.array(250e12))
    assert found == pytest.approx(expected, rel=1e-12)


def test_a_thin_product_is_bound_by_memory(
    a100: Accelerator, constants: Constants, llama_8b: TransformerShape
) -> None:
    one = job(llama_8b, Layout(), a100)
    rows, wide = np.array(1.0), np.array(8192.0)
    found = matmul_s(rows, wide, wide, one, constants, flops_per_s=np.array(250e12))
    assert found >= 2.0 * 8192**2 / 2.039e12


def test_the_roofline_is_the_slower_of_both() -> None:
    numbers = [np.array(v) for v in (8e12, 3e12, 4e12, 1e12)]
    assert roofline_s(*numbers) == 3.0
    numbers[1] = np.array(1e12)
    assert roofline_s(*numbers) == 2.0


@settings(max_examples=60, deadline=None)
@given(rows=SIZES, columns=SIZES, depth=SIZES, machine=st.sampled_from(MACHINES))
def test_no_product_beats_the_data_sheet(rows: int, columns: int, depth: int, machine: str) -> None:
    shape = TransformerShape.from_parameters(1e9, sequence=4096)
    constants = constants_of(TRAINING)
    for precision in ("bf16", "fp8", "fp4"):
        one = a_job(machine, precision, shape)
        sizes = [np.array(float(n)) for n in (rows, columns, depth)]
        forward, backward = training_matmul_s(*sizes, one, constants)
        peak = FACTS.machine(machine).flops_per_s(precision)
        assert forward >= 2.0 * rows * columns * depth / peak
        assert backward >= 4.0 * rows * columns * depth / peak
        half_byte = 0.5 * (rows * depth + depth * columns)
        assert forward >= half_byte / FACTS.machine(machine).unit_bandwidth_bytes_per_s


@pytest.mark.parametrize(("sequence", "window"), [(64, 0), (64, 16), (64, 64), (100, 7)])
def test_keys_per_query_counts_the_mask(sequence: int, window: int) -> None:
    shape = TransformerShape(
        layers=1,
        hidden=128,
        heads=1,
        kv_heads=1,
        ffn=512,
        vocab=100,
        sequence=sequence,
        sliding_window=window,
        sliding_window_layers=1 if window else 0,
    )
    i, j = np.indices((sequence, sequence))
    mask = (j <= i) & (i - j < (window or sequence))
    found, _ = keys_per_query(a_job("h100-80gb-sxm", "bf16", shape))
    # The law counts half of the diagonal: within half a key.
    assert abs(float(found) - mask.sum() / sequence) <= 0.51


@settings(max_examples=40, deadline=None)
@given(
    sequence=st.sampled_from([256, 2048, 8192, 131072]),
    width=st.sampled_from([64, 96, 108, 128, 256]),
    machine=st.sampled_from(MACHINES),
)
def test_no_attention_beats_the_data_sheet(sequence: int, width: int, machine: str) -> None:
    shape = TransformerShape(
        layers=1,
        hidden=16 * width,
        heads=16,
        kv_heads=16,
        ffn=1024,
        vocab=100,
        sequence=sequence,
        head_dim=width,
        mlp="gelu",
    )
    one, constants = a_job(machine, "bf16", shape), constants_of(TRAINING)
    peak = FACTS.machine(machine).flops_per_s("bf16")
    causal = 4.0 * sequence * sequence / 2.0 * 16 * width
    forward, backward = fused_attention_s(one, constants)
    assert forward >= causal / peak
    assert backward >= 2.5 * causal / peak
    forward, backward = unfused_attention_s(one, constants)
    assert forward >= 2.0 * causal / peak
    assert backward >= 4.0 * causal / peak


def test_a_misaligned_head_falls_off_the_tensor_cores(
    a100: Accelerator, constants: Constants, gpt_175b: TransformerShape
) -> None:
    layout = Layout(tp=8, zero=0, sequence_parallel=False)
    wide = job(gpt_175b, layout, a100, "fp16")
    narrow = replace(wide, heads=np.array(128.0), head_width=np.array(90.0))
    aligned = replace(wide, heads=np.array(128.0), head_width=np.array(96.0))
    slow, _ = unfused_attention_s(narrow, constants)
    fast, _ = unfused_attention_s(aligned, constants)
    assert slow > 3.0 * fast
