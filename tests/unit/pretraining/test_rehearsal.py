"""What is predicted of a rehearsed training, and its parts that need no run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("tokenizers")

from sextant.decoder.mesh import Degrees
from sextant.errors import InputError
from sextant.facts import Machine, load_facts
from sextant.fleet.fault import Fault
from sextant.plan.training_rehearsal import KernelCosts, TrainingShape, predict_training
from sextant.systems.pretraining.counted import counted_bytes
from sextant.systems.pretraining.drill import check_faults
from sextant.systems.pretraining.job import Job
from sextant.systems.pretraining.rehearsal import shape_in, small_model

COST = KernelCosts(
    layer_s=0.01, head_s=0.02, adam_s=0.005, start_s=2.0, sample_s=1e-4, reduce_s=0.03
)
TIMES = ("compute_s", "exposed_data_parallel_s", "data_s", "step_s", "tokens_per_s")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(
        model=small_model(ffn_ratio=3.25, heads_per_key=16.0),
        data=tmp_path,
        out=tmp_path / "run",
        steps=20,
        batch=8,
        sequence=64,
        micro_batch=2,
        layout=Degrees(dp=2),
        checkpoint_steps=8,
    )


def machine(**measured: float) -> Machine:
    return replace(next(iter(load_facts().machines.values())), measured=measured)


HERE = machine(memory_read_bytes_per_s=1e10)


def predicted(shape: TrainingShape, here: Machine = HERE) -> dict[str, float]:
    quantities, _ = predict_training(shape, COST, here)
    assert all(q.low <= q.value <= q.high for q in quantities)
    return {q.name: q.value for q in quantities}


def test_a_step_is_its_parts(job: Job) -> None:
    shape = shape_in(job)
    assert (shape.saves, shape.micro_batches) == (3, 2)
    found = predicted(shape)
    assert found["compute_s"] == pytest.approx(2 * (4 * 0.01 + 0.02) + 0.005)
    parts = sum(found[name] for name in ("compute_s", "exposed_data_parallel_s", "data_s"))
    assert found["step_s"] == pytest.approx(parts)
    assert found["tokens_per_s"] == pytest.approx(8 * 64 / parts)
    assert set(TIMES) < set(found)
    alone = predicted(replace(shape, ranks=1))
    assert alone["exposed_data_parallel_s"] == 0.0
    assert alone["tokens_per_s"] < found["tokens_per_s"] < 2 * alone["tokens_per_s"]


def test_more_steps_and_fewer_checkpoints_are_better_goodput(job: Job) -> None:
    shape = shape_in(job)
    usual = predicted(shape)["goodput"]
    assert predicted(replace(shape, steps=200))["goodput"] > usual
    assert predicted(replace(shape, saves=20))["goodput"] < usual


def test_a_machine_that_was_not_probed_is_refused(job: Job) -> None:
    with pytest.raises(InputError, match="memory_read"):
        predict_training(shape_in(job), COST, machine())


def test_the_bytes_of_a_rank_are_as_predicted(job: Job) -> None:
    quantities, _ = predict_training(shape_in(job), COST, HERE)
    expected = {q.name: q for q in quantities}
    for name, counted in counted_bytes(job).items():
        assert expected[name].low <= counted <= expected[name].high, name


def test_a_small_model_keeps_the_proportions() -> None:
    small = small_model(ffn_ratio=3.25, heads_per_key=16.0)
    assert (small.ffn, small.heads, small.kv_heads) == (416, 8, 1)
    assert small_model(ffn_ratio=4.0, heads_per_key=1.0).kv_heads == 8


@pytest.mark.parametrize(
    "fault", ["kill:rank/2@1s", "kill:shard/0@1s", "slow:rank/0=5ms@1s", "kill:rank/0@up"]
)
def test_a_fault_that_a_rank_cannot_have_is_refused(fault: str) -> None:
    check_faults([Fault.parse("kill:rank/1@step=3"), Fault.parse("stop:rank/0@1s+2s")], 2)
    with pytest.raises(InputError):
        check_faults([Fault.parse(fault)], 2)
