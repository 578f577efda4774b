"""What computing hides of communication and of the host: by hand, and never more than there is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.laws.accelerator import Accelerator
from sextant.laws.collectives import all_reduce_s, group
from sextant.laws.constants import Constants
from sextant.laws.gradients import exposed_s, reduction
from sextant.laws.job import ONE, job
from sextant.laws.layer import layer_work
from sextant.laws.layout import Layout
from sextant.laws.matmul import gradient_width, training_matmul_s
from sextant.laws.overlap import beside_s, chunked_s
from sextant.laws.shape import TransformerShape
from sextant.laws.step import host_s
from sextant.laws.traffic import expert_s, scatter_rounds, tensor_s
from sextant.laws.weights import StageWeights

SECONDS = st.floats(0.0, 1e3)


def stage(common: float, experts: float = 0.0) -> StageWeights:
    return StageWeights(common=np.array(common), experts=np.array(experts))


def test_what_is_longer_counts_and_the_shorter_leaks(constants: Constants) -> None:
    leaky = replace(constants, gather_leak=0.25)
    assert beside_s(np.array(3.0), np.array(8.0), leaky) == pytest.approx(0.75)
    assert beside_s(np.array(8.0), np.array(3.0), leaky) == pytest.approx(5.0 + 0.75)
    # Four pieces: one of 2 s alone, the other 6 s beside 10 s of computing.
    assert chunked_s(np.array(8.0), np.array(10.0), np.array(4.0), leaky) == pytest.approx(3.5)


@given(moved=SECONDS, computed=SECONDS, chunks=st.integers(1, 64))
def test_nothing_is_hidden_twice(moved: float, computed: float, chunks: int) -> None:
    from sextant.facts.training import load_training_facts
    from sextant.laws.machine import constants_of

    constants = constants_of(load_training_facts())
    one = [np.array(n) for n in (moved, computed, float(chunks))]
    added = float(chunked_s(*one, constants))
    slack = 1e-9 * (1.0 + moved + computed)
    assert added >= max(moved / chunks, moved - computed) - slack
    assert computed + added <= moved + computed + slack


def test_tensor_traffic_beside_products(
    llama_8b: TransformerShape, h100: Accelerator, constants: Constants
) -> None:
    layout = Layout(tp=8, dp=8, global_batch=64, zero=3)
    eager = job(llama_8b, layout, h100)
    work = layer_work(eager, constants)
    message = eager.tokens * eager.hidden * 2.0
    whole = 4.0 * all_reduce_s(message, group(eager.tp, ONE, eager), eager, constants)
    assert tensor_s(eager, constants, work) == pytest.approx(whole)
    asked = job(llama_8b, replace(layout, tensor_parallel_overlap=True), h100)
    least = whole / 16.0
    assert least < tensor_s(asked, constants, work) < whole
    maker = job(llama_8b, replace(layout, zero=1), h100)
    assert tensor_s(maker, constants, layer_work(maker, constants)) < whole


def test_gradients_of_one_node_by_hand(
    llama_8b: TransformerShape, h100: Accelerator, constants: Constants
) -> None:
    plain = replace(constants, fast_share=0.8, fast_latency_s=0.0)
    one = job(llama_8b, Layout(dp=8, global_batch=64, zero=1), h100)
    found = reduction(one, plain, stage(1e9))
    # 7/8 of 4 GB of fp32 gradients out, 7/8 of 2 GB of bf16 weights back, at 0.8 of 450 GB/s.
    assert found.scatter == pytest.approx(7 / 8 * 4e9 / 360e9)
    assert found.gather == pytest.approx(7 / 8 * 2e9 / 360e9)
    low = job(llama_8b, Layout(dp=8, global_batch=64, zero=1), h100, "fp8")
    narrow = reduction(low, plain, stage(1e9))
    assert narrow.total == pytest.approx(found.total / 2.0)
    whole = reduction(job(llama_8b, Layout(dp=8, global_batch=64, zero=0), h100), plain, stage(1e9))
    assert whole.gather == pytest.approx(whole.scatter)


def test_more_chunks_and_interleaving_hide_more_of_them(
    llama_8b: TransformerShape, h100: Accelerator, constants: Constants
) -> None:
    def waits(**to: int) -> float:
        one = job(llama_8b, Layout(pp=4, dp=64, global_batch=1024, **to), h100)
        found = reduction(one, constants, stage(1e9))
        exposed = exposed_s(one, constants, found, np.array(8.0), layer_work(one, constants))
        assert 0.0 < float(exposed) <= float(found.total)
        return float(exposed)

    assert waits(interleave=4) < waits(interleave=2) < waits()


def test_the_first_stacks_hid_no_gradients(
    gpt_175b: TransformerShape, a100: Accelerator, constants: Constants
) -> None:
    layout = Layout(tp=8, pp=12, dp=4, global_batch=1536, zero=1, sequence_parallel=False)
    one = job(gpt_175b, layout, a100, "fp16")
    found = reduction(one, constants, stage(1e9))
    work = layer_work(one, constants)
    assert exposed_s(one, constants, found, np.array(8.0), work) == pytest.approx(found.total)


@pytest.mark.parametrize(
    ("to", "rounds"),
    [({}, 8.0), ({"interleave": 2}, 2.0), ({"pp": 1, "dp": 32, "micro_batch": 2}, 2.0)],
)
def test_rounds_of_scattering(
    llama_8b: TransformerShape, h100: Accelerator, to: dict[str, int], rounds: float
) -> None:
    layout = replace(Layout(pp=4, dp=16, global_batch=128, zero=2), **to)
    assert scatter_rounds(job(llama_8b, layout, h100)) == rounds


def test_the_host_launches_each_expert_that_a_gpu_holds(
    deepseek_v3: TransformerShape, h100: Accelerator, constants: Constants
) -> None:
    plain = replace(constants, launch_s=1e-3, expert_launch_s=1e-3)

    def wait(ep: int, busy_s: float, zero: int = 1) -> float:
        one = job(deepseek_v3, Layout(dp=64, ep=ep, zero=zero), h100)
        return float(host_s(one, plain, np.array(busy_s)))

    # 256 experts over 8 ranks are 32 a GPU, in 58 of 61 layers.
    assert wait(8, 0.0) == pytest.approx(1e-3 * (1.0 + 32.0 * 58.0 / 61.0))
    assert wait(64, 0.0) == pytest.approx(1e-3 * (1.0 + 4.0 * 58.0 / 61.0))
    assert wait(64, 1.0) == 0.0
    assert wait(8, 0.0, zero=3) == pytest.approx(1e-3)  # PyTorch's own: one grouped product


def test_the_maker_casts_a_weight_once_a_step(
    llama_8b: TransformerShape, h100: Accelerator, constants: Constants
) -> None:
    sizes = [np.array(n) for n in (128.0, 14336.0, 4096.0)]

    def forward(**to: int) -> float:
        one = job(llama_8b, Layout(dp=8, **to), h100, "fp8")
        return float(training_matmul_s(*sizes, one, constants)[0])

    cast = 4.0 * 14336 * 4096 / (3.35e12 * constants.stream_share)
    saved = forward(global_batch=8) - forward(global_batch=64)
    assert saved == pytest.approx(cast * 7.0 / 8.0)


@pytest.mark.parametrize(
    ("to", "precision", "width"),
    [
        ({}, "bf16", 4.0),
        ({}, "fp8", 2.0),
        ({"zero": 3}, "bf16", 4.0),
        ({"gradient_bytes": 4}, "fp8", 4.0),
        ({"gradient_bytes": 2}, "bf16", 2.0),
    ],
)
def test_width_of_gradients(
    llama_8b: TransformerShape,
    h100: Accelerator,
    to: dict[str, int],
    precision: str,
    width: float,
) -> None:
    assert gradient_width(job(llama_8b, Layout(dp=8, **to), h100, precision)) == width


def test_overlap_of_tensor_traffic_can_be_denied_and_is_not_supposed_of_old_chips(
    llama_8b: TransformerShape, h100: Accelerator, a100: Accelerator, constants: Constants
) -> None:
    def waits(chip: Accelerator, said: bool | None) -> float:
        layout = Layout(tp=8, dp=8, global_batch=64, tensor_parallel_overlap=said)
        one = job(llama_8b, layout, chip)
        return float(tensor_s(one, constants, layer_work(one, constants)))

    assert waits(h100, None) == waits(h100, True) < waits(h100, False)
    assert waits(a100, True) < waits(a100, None) == waits(a100, False)


def test_virtual_stages_hide_experts_traffic_over_the_network(
    deepseek_v3: TransformerShape, h100: Accelerator, constants: Constants
) -> None:
    def waits(interleave: int, chip: Accelerator) -> float:
        layout = Layout(pp=16, dp=128, ep=64, interleave=interleave, global_batch=15360)
        one = job(deepseek_v3, layout, chip, "fp8")
        return float(expert_s(one, constants, layer_work(one, constants)))

    assert waits(2, h100) < 0.6 * waits(1, h100)
    rack = replace(h100, fast_domain=72)
    assert waits(2, rack) == waits(1, rack)
