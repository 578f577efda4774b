"""Memory: the papers' formulas by hand, and monotone in what should save it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sextant.laws.accelerator import Accelerator
from sextant.laws.activations import (
    bucket_bytes,
    head_bytes,
    kept_bytes,
    layer_bytes,
    output_bytes,
    summand_bytes,
)
from sextant.laws.constants import Constants
from sextant.laws.job import job
from sextant.laws.layout import Layout
from sextant.laws.memory import MemoryBreakdown, held, memory_per_gpu
from sextant.laws.pipeline import in_flight
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


def test_a_visited_expert_keeps_its_input_and_inner_values(
    deepseek_v3: TransformerShape, h100: Accelerator
) -> None:
    one = job(deepseek_v3, Layout(dp=64, ep=64), h100)
    # Norms 4 h, block inputs 4 h; queries and keys of 192, values of 128 and the core's output
    # for 128 heads; latent 2 (1536 + 512 + 64); in 58 of 61 layers eight copies of 2 h and nine
    # experts of 6 x 2048, in the others 6 x 18432.
    h, moe = 7168.0, 58.0 / 61.0
    heads = 2.0 * 128 * (192 + 192 + 128) + 2.0 * 128 * 128
    inner = 6.0 * ((1.0 - moe) * 18432 + moe * 9 * 2048)
    token = 8.0 * h + heads + 2.0 * (1536 + 512 + 64) + moe * 8 * 2.0 * h + inner
    assert layer_bytes(one) == pytest.approx(4096 * token)


def test_gradients_split_under_a_pipeline_wait_whole_in_one_virtual_stage(
    llama_8b: TransformerShape, h100: Accelerator, constants: Constants
) -> None:
    layout = Layout(pp=4, dp=16, interleave=2, global_batch=128, zero=1)
    whole = held(job(llama_8b, layout, h100), constants)
    split = held(job(llama_8b, replace(layout, zero=2), h100), constants)
    assert split.gradients == pytest.approx(whole.gradients / 16.0)
    assert split.parameters == pytest.approx(whole.parameters)
    chunk = (llama_8b.attention_parameters + llama_8b.dense_mlp_parameters + 2 * 4096) * 8 / 2
    outputs = (4 + 3 / 2) * 8192 * 4096 * 2
    assert split.working - whole.working == pytest.approx(4.0 * chunk + outputs)
    # With weights split too, gradients add up whole (torchtitan).
    full = held(job(llama_8b, replace(layout, zero=3), h100), constants)
    assert full.gradients == pytest.approx(whole.gradients)


def test_the_second_stage_may_be_the_fullest(
    llama_8b: TransformerShape, h100: Accelerator, constants: Constants
) -> None:
    shape = replace(llama_8b, layers=30, vocab=1024)
    layout = Layout(pp=8, dp=8, global_batch=512, zero=1, embeddings_as_layers=True)
    one = job(shape, layout, h100)
    # 32 shared out over 8: the first stage has 3 layers and 8 micro-batches, the second 4 and 7.
    found = held(one, constants)
    assert found.activations == pytest.approx(4.0 * 7.0 * kept_bytes(one))


@pytest.mark.parametrize(
    ("to", "each"),
    [
        ({"zero": 1}, 6.0),
        ({"zero": 3}, 12.0),
        ({"zero": 3, "tp": 2}, 16.0),
        ({"zero": 3, "fused_cross_entropy": True}, 2.0),
        ({"zero": 1, "fused_cross_entropy": True}, 2.0),
    ],
)
def test_bytes_of_a_logit(
    llama_8b: TransformerShape, h100: Accelerator, to: dict[str, int], each: float
) -> None:
    one = job(llama_8b, replace(Layout(dp=8), **to), h100)
    assert head_bytes(one) == pytest.approx(8192 * (128_256 / to.get("tp", 1) * each + 4 * 4096))


def test_what_the_first_joined_stacks_hold_besides(
    gpt_175b: TransformerShape, a100: Accelerator
) -> None:
    layout = Layout(
        tp=4,
        pp=12,
        dp=8,
        micro_batch=2,
        global_batch=2048,
        zero=1,
        recompute="full",
        sequence_parallel=False,
        gradient_bytes=2,
    )
    narrow = job(gpt_175b, layout, a100, "fp16")
    # Twelve micro-batches' outputs of 2 x 2,048 x 12,288 in 16 bits; half a billion gradients.
    assert output_bytes(narrow) == pytest.approx(12 * 2 * 2048 * 12288 * 2)
    assert (bucket_bytes(narrow), summand_bytes(narrow)) == (1e9, 0.0)
    wide = job(gpt_175b, replace(layout, gradient_bytes=4), a100, "bf16")
    assert (bucket_bytes(wide), summand_bytes(wide)) == (0.0, 51200 * 12288 / 4 * 4)
    plain = job(gpt_175b, replace(layout, zero=0), a100, "fp16")
    assert (bucket_bytes(plain), summand_bytes(plain)) == (0.0, 0.0)


def test_the_maker_frees_outputs_once_sent(llama_8b: TransformerShape, h100: Accelerator) -> None:
    layout = Layout(pp=4, dp=8, global_batch=64, zero=1)
    assert output_bytes(job(llama_8b, layout, h100)) == 0.0
    kept = output_bytes(job(llama_8b, replace(layout, zero=3), h100))
    assert kept == pytest.approx(4 * 8192 * 4096 * 2)


def test_the_last_of_interleaved_stages_holds_more_than_one_micro_batch(
    llama_8b: TransformerShape, h100: Accelerator
) -> None:
    one = job(llama_8b, Layout(pp=8, interleave=4, global_batch=64), h100)
    assert in_flight(one, stage=one.pp - 1.0) == 8.0 - 7.0 / 4.0
    plain = job(llama_8b, Layout(pp=8, global_batch=64), h100)
    assert in_flight(plain, stage=plain.pp - 1.0) == 1.0


def test_selective_recompute_of_latent_attention_keeps_latents(
    deepseek_v3: TransformerShape, h100: Accelerator
) -> None:
    layout = Layout(dp=64, ep=64, global_batch=64)
    whole, again = (
        float(layer_bytes(job(deepseek_v3, replace(layout, recompute=r), h100, "bf16")))
        for r in ("none", "selective")
    )
    heads, width, moe = 128, 7168, 58 / 61
    inner = (1 - moe) * 18432 + moe * 9 * 2048
    queries = 2 * heads * (2 * (128 + 64) + 128)
    assert whole - again == pytest.approx(4096 * (queries + 4 * width + 2 * inner))


def test_layers_that_two_more_would_divide_leave_room_for_the_vocabulary(
    llama_8b: TransformerShape, h100: Accelerator
) -> None:
    # Llama 3: 126 layers over 16 stages, one layer less at either end.
    tall = replace(llama_8b, layers=126)
    assert job(tall, Layout(pp=16, global_batch=16), h100).counted
    assert not job(replace(tall, layers=128), Layout(pp=16, global_batch=16), h100).counted
    assert not job(replace(tall, layers=125), Layout(pp=16, global_batch=16), h100).counted
