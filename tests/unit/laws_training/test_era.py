"""Which software a job has, told by its parts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sextant.laws.accelerator import Accelerator
from sextant.laws.constants import Constants
from sextant.laws.job import Job, job
from sextant.laws.layout import Layout
from sextant.laws.shape import TransformerShape
from sextant.laws.step import step_time


def era(one: Job) -> str:
    said = {"unfused": one.unfused, "early": one.early, "native": one.native, "maker": one.vendor}
    found = [name for name, flag in said.items() if flag > 0]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    ("model", "layout", "precision", "expected"),
    [
        ("gelu", Layout(tp=8, pp=8, dp=4, sequence_parallel=False), "fp16", "unfused"),
        ("gelu", Layout(tp=8, pp=8, zero=0), "fp16", "unfused"),  # Korthikanti et al. 2022
        ("gelu", Layout(tp=8, pp=8, dp=4, zero=1), "bf16", "maker"),  # Megatron-LM 3.0 and later
        ("gelu", Layout(dp=64, zero=3), "bf16", "native"),
        ("learned", Layout(dp=64, zero=3), "bf16", "early"),  # llm-foundry
        ("swiglu", Layout(tp=4, pp=4, dp=4), "bf16", "maker"),
        ("swiglu", Layout(dp=64, zero=3), "bf16", "native"),  # torchtitan
    ],
)
def test_on_a_chip_that_saw_all_of_them(
    gpt_175b: TransformerShape,
    llama_8b: TransformerShape,
    a100: Accelerator,
    model: str,
    layout: Layout,
    precision: str,
    expected: str,
) -> None:
    learned = replace(gpt_175b, learned_positions=True)
    shapes = {"gelu": gpt_175b, "learned": learned, "swiglu": llama_8b}
    assert era(job(shapes[model], layout, a100, precision)) == expected


@pytest.mark.parametrize("precision", ["bf16", "fp8"])
def test_an_old_model_in_a_3d_layout_on_a_newer_chip_runs_the_maker_s_kernels(
    gpt_175b: TransformerShape, h100: Accelerator, precision: str
) -> None:
    learned = replace(gpt_175b, learned_positions=True, biases=True)
    one = job(learned, Layout(tp=4, pp=8, dp=4, interleave=6), h100, precision)
    assert era(one) == "maker"
    sharded = job(learned, Layout(dp=64, zero=3), h100, precision)
    assert era(sharded) == "early"


def test_low_precision_with_full_sharding_is_pytorch_s_own_only_where_it_compiles(
    llama_8b: TransformerShape, h100: Accelerator
) -> None:
    assert era(job(llama_8b, Layout(dp=64, zero=3), h100, "fp8")) == "maker"
    assert era(job(llama_8b, Layout(dp=64, zero=3, compiled=True), h100, "fp8")) == "native"


@pytest.mark.parametrize("sign", ["compiled", "tensor_parallel_overlap", "fused_cross_entropy"])
def test_what_came_after_fused_attention_dates_a_job(
    gpt_175b: TransformerShape, a100: Accelerator, sign: str
) -> None:
    old = Layout(tp=8, pp=8, dp=4, sequence_parallel=False)
    assert era(job(gpt_175b, old, a100, "fp16")) == "unfused"
    assert era(job(gpt_175b, replace(old, **{sign: True}), a100, "fp16")) in ("maker", "native")


def test_a_doubtful_age_widens_the_interval(
    gpt_175b: TransformerShape, a100: Accelerator, constants: Constants
) -> None:
    layout = Layout(tp=8, pp=8, dp=4, zero=0, sequence_parallel=False, global_batch=64)
    sure, doubtful = (
        step_time(gpt_175b, layout, a100, p, constants=constants) for p in ("fp16", "bf16")
    )
    assert doubtful.high_s / doubtful.total_s > sure.high_s / sure.total_s + 0.05
    stated = replace(layout, stack="unfused")
    assert job(gpt_175b, stated, a100).doubtful == 0.0
