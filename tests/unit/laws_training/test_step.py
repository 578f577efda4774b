"""The step: parts that sum, bounds that hold, and directions that must be right."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sextant.facts import load_facts
from sextant.facts.training import load_training_facts
from sextant.laws.accelerator import Accelerator
from sextant.laws.constants import Constants
from sextant.laws.layout import Layout
from sextant.laws.machine import accelerator_of, constants_of, spread_of
from sextant.laws.shape import TransformerShape
from sextant.laws.step import StepBreakdown, step_time

FACTS, TRAINING = load_facts(), load_training_facts()
MACHINES = sorted(name for name, m in FACTS.machines.items() if m.kind == "accelerator-node")
TOTALS = ("total_s", "low_s", "high_s")


def parts(step: StepBreakdown) -> dict[str, float]:
    return {name: value for name, value in asdict(step).items() if name not in TOTALS}


def test_parts_sum_to_the_total(
    gpt_175b: TransformerShape, a100: Accelerator, constants: Constants
) -> None:
    layout = Layout(tp=8, pp=12, dp=4, global_batch=1536, zero=1, recompute="full")
    step = step_time(gpt_175b, layout, a100, "bf16", constants=constants)
    assert sum(parts(step).values()) == pytest.approx(step.total_s)
    assert step.compute_s + step.communication_s < step.total_s
    assert step.low_s < step.total_s < step.high_s


@settings(max_examples=80, deadline=None)
@given(
    machine=st.sampled_from(MACHINES),
    precision=st.sampled_from(["bf16", "fp8", "fp4"]),
    count=st.sampled_from([1e9, 8e9, 70e9]),
    tp=st.sampled_from([1, 2, 8]),
    pp=st.sampled_from([1, 4]),
    dp=st.sampled_from([1, 8, 128]),
    cp=st.sampled_from([1, 2]),
    zero=st.sampled_from([0, 1, 2, 3]),
    recompute=st.sampled_from(["none", "selective", "full"]),
)
def test_no_step_beats_the_data_sheet(
    machine: str,
    precision: str,
    count: float,
    tp: int,
    pp: int,
    dp: int,
    cp: int,
    zero: int,
    recompute: str,
) -> None:
    shape = TransformerShape.from_parameters(count, sequence=4096)
    layout = Layout(tp=tp, pp=pp, dp=dp, cp=cp, global_batch=dp * 8, zero=zero, recompute=recompute)
    accelerator = accelerator_of(FACTS.machine(machine), TRAINING)
    step = step_time(
        shape,
        layout,
        accelerator,
        precision,
        constants=constants_of(TRAINING),
        spread=spread_of(TRAINING),
    )
    assert all(value >= -1e-12 for value in parts(step).values())
    # The mask spares half of the scores; all else must be computed.
    attention = 12.0 * shape.layers * shape.hidden * shape.sequence
    spared = shape.flops_per_token() - attention / 2.0
    tokens = layout.global_batch * shape.sequence / layout.gpus
    assert step.total_s >= spared * tokens / accelerator.peak(precision)


def test_directions(llama_8b: TransformerShape, h100: Accelerator, constants: Constants) -> None:
    base = Layout(tp=2, pp=4, dp=8, global_batch=128, zero=1)

    def total(
        machine: Accelerator = h100, shape: TransformerShape = llama_8b, **to: object
    ) -> float:
        return step_time(shape, replace(base, **to), machine, constants=constants).total_s  # type: ignore[arg-type]

    assert total(recompute="full") > total(recompute="none")
    assert total(interleave=2) < total()
    sharded = {"pp": 1, "dp": 32, "zero": 3}
    assert total(tensor_parallel_overlap=True, **sharded) < total(**sharded)
    assert total(global_batch=256) > 1.7 * total()
    assert total(replace(h100, network_bytes_per_s=1e9)) > total()
    assert total(replace(h100, fast_link_bytes_per_s=50e9)) > total()
    windowed = replace(llama_8b, sliding_window=1024, sliding_window_layers=16)
    assert total(shape=windowed) < total()
    grouped = replace(llama_8b, kv_heads=32)
    assert total(shape=grouped) > total()


def test_low_precision_and_newer_chips_are_faster(
    llama_8b: TransformerShape, h100: Accelerator, constants: Constants
) -> None:
    layout = Layout(dp=8, global_batch=128, zero=1)
    times = [
        step_time(llama_8b, layout, h100, precision, constants=constants).total_s
        for precision in ("bf16", "fp8")
    ]
    assert times[1] < times[0]
    gb200 = accelerator_of(FACTS.machine("gb200"), TRAINING)
    newer = [
        step_time(llama_8b, layout, gb200, precision, constants=constants).total_s
        for precision in ("bf16", "fp8", "fp4")
    ]
    assert newer[0] < times[0]
    assert newer == sorted(newer, reverse=True)


def test_experts_on_a_rack_wait_less_than_over_a_network(
    deepseek_v3: TransformerShape, h100: Accelerator, constants: Constants
) -> None:
    layout = Layout(pp=4, dp=64, ep=64, global_batch=2048)
    gb200 = accelerator_of(FACTS.machine("gb200"), TRAINING)
    network = step_time(deepseek_v3, layout, h100, "fp8", constants=constants)
    rack = step_time(deepseek_v3, layout, gb200, "fp8", constants=constants)
    assert rack.expert_s < network.expert_s / 3.0


def test_intervals_are_wider_where_nothing_was_measured(
    gpt_175b: TransformerShape,
    deepseek_v3: TransformerShape,
    a100: Accelerator,
    constants: Constants,
) -> None:
    layout = Layout(pp=4, dp=64, global_batch=2048)
    gb200 = accelerator_of(FACTS.machine("gb200"), TRAINING)
    old = step_time(gpt_175b, layout, a100, "fp16", constants=constants)
    new = step_time(deepseek_v3, layout, gb200, "fp4", constants=constants)
    assert new.high_s / new.low_s > old.high_s / old.low_s
