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
from sextant.plan.training_rehearsal import RehearsalCosts, TrainingShape, predict_training
from sextant.plan.training_step import StepCosts, StepShape, step_seconds
from sextant.systems.pretraining.counted import counted_bytes
from sextant.systems.pretraining.drill import check_faults
from sextant.systems.pretraining.job import Job
from sextant.systems.pretraining.rehearsal import shape_in, small_model

COST = RehearsalCosts(
    start_s=2.0,
    step=StepCosts(
        ranks=2,
        layer_s=0.01,
        embed_s=0.003,
        head_s=0.02,
        layer_update_s=0.001,
        ends_update_s=0.002,
        layer_reduce_s=0.005,
        ends_reduce_s=0.01,
        layer_split_s=0.002,
        sample_s=1e-4,
    ),
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
    assert found["compute_s"] == pytest.approx(2 * (4 * 0.01 + 0.023) + 4 * 0.001 + 0.002)
    exposed = 2 * 4 * 0.002 + 4 * 0.005 + 0.01
    assert found["exposed_data_parallel_s"] == pytest.approx(exposed)
    parts = sum(found[name] for name in ("compute_s", "exposed_data_parallel_s", "data_s"))
    assert found["step_s"] == pytest.approx(parts)
    assert found["tokens_per_s"] == pytest.approx(8 * 64 / parts)
    assert set(TIMES) < set(found)


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


PIECES = replace(COST.step, layer_message_s=0.003, send_s=0.004)
STEP = StepShape(stage_layers=(4,), micro_batches=2, sequences=4, cores=2)


def test_a_split_matrix_exchanges_in_every_pass() -> None:
    split = step_seconds(replace(STEP, tp=2), PIECES)
    assert split.tensor == pytest.approx(2 * 4 * (0.002 + 0.003))
    assert split.bubble == split.pipeline == 0.0


def test_stages_wait_for_one_another_unless_they_share_a_core() -> None:
    alone = step_seconds(STEP, PIECES)
    piped = step_seconds(replace(STEP, stage_layers=(2, 2), micro_batches=4), PIECES)
    # The last has the head and is the slowest: it waits for the first's first micro-batch.
    assert piped.bubble == pytest.approx(2 * (0.01 + 0.002 + 0.003) + 0.003 + 0.004)
    assert piped.pipeline == pytest.approx(4 * 0.004)
    crowded = step_seconds(
        replace(STEP, stage_layers=(2, 2), micro_batches=4, cores=1), replace(PIECES, ranks=1)
    )
    # Two ranks on one core: all the work one after the other, and nobody waits.
    both = 4 * (4 * (0.01 + 0.002 + 0.003) + 0.003 + 0.02 + 2 * 0.004)
    both += 4 * (0.001 + 0.005) + 0.002 + 0.01
    assert crowded.bubble == 0.0
    assert crowded.total == pytest.approx(both + 2 * 4 * 1e-4)
    assert crowded.total > piped.total > alone.total / 2
