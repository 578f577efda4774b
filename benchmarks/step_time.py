"""The time of a training step, predicted before the run and measured, under six layouts here.

The 10M model, 1,024 tokens a step. What is predicted follows from unit costs of single pieces that
are measured just before it (`sextant.systems.pretraining.kernels`).
"""

from __future__ import annotations

import os
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.bench import Figure
from benchmarks.kill_training import made_up_tokens
from sextant.decoder.config import SIZES
from sextant.decoder.mesh import Degrees
from sextant.plan.training_step import StepSeconds, step_seconds
from sextant.systems.pretraining import record
from sextant.systems.pretraining.job import RECORD_FILE, Job, Recipe
from sextant.systems.pretraining.launch import launch
from sextant.systems.pretraining.unit_costs import measured_costs, step_shape

LAYOUTS = ("1", "dp=2", "fsdp=2", "tp=2", "pp=2", "tp=2,pp=2")
BATCH, MICRO_BATCH, SEQUENCE = 8, 2, 128
_STEPS, _WARM_STEPS = 10, 3
_OFF = 0.2


def run() -> list[Figure]:
    """One figure a layout; `SEXTANT_STEP_LAYOUTS` (with semicolons) chooses some."""
    chosen = os.environ.get("SEXTANT_STEP_LAYOUTS", ";".join(LAYOUTS)).split(";")
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        job = _job(Path(folder))
        return [_layout(job, layout, cores) for layout in chosen]


def _job(folder: Path) -> Job:
    data = made_up_tokens(folder, 40_000)
    return Job(
        model=SIZES["10m"],
        data=data,
        out=folder / "run",
        steps=_STEPS,
        batch=BATCH,
        sequence=SEQUENCE,
        micro_batch=MICRO_BATCH,
        recipe=Recipe(warmup_steps=2),
        checkpoint_steps=_STEPS,
        pace_s=0.0,
    )


def _layout(job: Job, layout: str, cores: int) -> Figure:
    here = replace(job, layout=Degrees.parse(layout), out=job.out.with_name(layout))
    predicted = step_seconds(step_shape(here, cores), measured_costs(here, cores))
    measured = _measured(here)
    ratio = predicted.total / measured
    return Figure(
        name=f"predicted over measured, {layout}",
        measured=ratio,
        unit="",
        bar="within 20%",
        held=abs(ratio - 1.0) <= _OFF,
        beside={"measured, s": measured, "predicted, s": predicted.total, **_parts(predicted)},
    )


def _measured(job: Job) -> float:
    """The median step, without the first few."""
    job.write()
    launch(job)
    found = record.steps(job.out / RECORD_FILE)
    return statistics.median(found[n]["seconds"] for n in sorted(found)[_WARM_STEPS:])


def _parts(predicted: StepSeconds) -> dict[str, float]:
    return {f"{name}, s": getattr(predicted, name) for name in StepSeconds.__slots__}
