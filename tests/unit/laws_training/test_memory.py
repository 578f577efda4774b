"""Memory: the papers' formulas by hand, and monotone in what should save it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sextant.laws.accelerator import Accelerator
from sextant.laws.activations import kept_bytes, layer_bytes
from sextant.laws.constants import Constants
from sextant.laws.job import job
from sextant.laws.layout import Layout
from sextant.laws.memory import MemoryBreakdown, held, memory_per_gpu
from sextant.laws.shape import TransformerShape


@pytest.mark.parametrize(
    ("sequence_parallel", "recompute", "per_token"),
    [
        # Korthikanti et al. 2022, Table 2: s b h times these, t = 8, a s / h = 16.
        (False, "none", 10 + 24 / 8 + 5 * 16 / 8),
        (True, "none", 34 / 8 + 5 * 16 / 8),
        (False, "selective", 10 + 24 / 8),
        (True, "selective", 34 / 8),
        (False, "full", 2),
    ],
)
def test_a_layer_keeps_what_korthikanti_counts(
    gpt_175b: TransformerShape,
    a100: Accelerator,
    sequence_parallel: bool,
    recompute: str,
    per_token: float,
) -> None:
    layout = Layout(
        tp=8, micro_batch=2, zero=0, sequence_parallel=sequence_parallel, recompute=recompute
    )
    one = job(gpt_175b, layout, a100, "fp16")
    assert kept_bytes(one) == pytest.approx(2 * 2048 * 12288 * per_token)


def test_zero_splits_sixteen_bytes_a_parameter(
    llama_8b: TransformerShape, h100: Accelerator, constants: Constants
) -> None:
    count = llama_8b.parameters
    sharded = held(job(llama_8b, Layout(dp=64, zero=3), h100), constants)
    assert sharded.states == pytest.approx(16 * count / 64, rel=1e-3)
    plain = held(job(llama_8b, Layout(dp=64, zero=0), h100), constants)
    assert plain.states == pytest.approx(18 * count, rel=1e-3)
    first = held(job(llama_8b, Layout(dp=64, zero=1), h100), constants)
    assert first.states == pytest.approx((6 + 12 / 64) * count, rel=1e-3)
    second = held(job(llama_8b, Layout(dp=64, zero=2), h100), constants)
    assert second.states == pytest.approx((2 + 16 / 64) * count, rel=1e-3)


def test_experts_are_held_by_their_ranks_alone(
    deepseek_v3: TransformerShape, h100: Accelerator, constants: Constants
) -> None:
    near = held(job(deepseek_v3, Layout(dp=64, ep=8, zero=1), h100), constants)
    far = held(job(deepseek_v3, Layout(dp=64, ep=64, zero=1), h100), constants)
    expert_weights = 58 * 256 * 3 * 7168 * 2048
    saved = expert_weights * (1 / 8 - 1 / 64)
    assert near.parameters - far.parameters == pytest.approx(2 * saved, rel=1e-6)


def test_parts_sum_to_the_total(
    llama_8b: TransformerShape, h100: Accelerator, constants: Constants
) -> None:
    found = memory_per_gpu(llama_8b, Layout(dp=8, zero=3), h100, constants=constants)
    parts = (
        found.parameters_bytes,
        found.gradients_bytes,
        found.optimizer_bytes,
        found.activations_bytes,
        found.working_bytes,
        found.runtime_bytes,
    )
    assert sum(parts) == pytest.approx(found.total_bytes)
    assert found.low_bytes < found.total_bytes < found.high_bytes
    assert isinstance(found, MemoryBreakdown)


@pytest.mark.parametrize("tp", [1, 2, 4, 8])
@pytest.mark.parametrize("pp", [1, 2, 4])
@pytest.mark.parametrize(("dp", "micro_batch"), [(2, 1), (8, 4)])
def test_what_should_save_memory_saves_it(
    h100: Accelerator, constants: Constants, tp: int, pp: int, dp: int, micro_batch: int
) -> None:
    shape = TransformerShape.from_parameters(8e9, sequence=4096)
    layout = Layout(tp=tp, pp=pp, dp=dp, micro_batch=micro_batch, global_batch=dp * 64)

    def total(**changes: object) -> float:
        changed = replace(layout, **changes)  # type: ignore[arg-type]
        return float(held(job(shape, changed, h100), constants).total)

    assert total(recompute="full") < total(recompute="selective") <= total(recompute="none")
    assert total(zero=1) < total(zero=0)
    assert total(fused_cross_entropy=True) <= total()
    assert total(micro_batch=micro_batch * 2) > total()
    assert total(tp=tp * 2) < total()


def test_a_card_in_fp8_keeps_less(llama_8b: TransformerShape, h100: Accelerator) -> None:
    wide = layer_bytes(job(llama_8b, Layout(), h100, "bf16"))
    assert layer_bytes(job(llama_8b, Layout(), h100, "fp8")) < wide
