"""A rehearsal and a drill of training: predictions written down first, then the run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from sextant.axes import Axis
from sextant.errors import InputError
from sextant.facts import Machine
from sextant.fleet.fault import Fault
from sextant.plan.demand import trained_model
from sextant.plan.quantity import Lean
from sextant.plan.shapes import parameters, shape_of
from sextant.plan.training_rehearsal import predict_training
from sextant.sights import record
from sextant.sights.rehearsal import DrillResult, Expectation, FiredFault, Recovery, Rehearsal
from sextant.systems.pretraining.drill import QUIET_S, Drilled, Struck, check_faults, drill
from sextant.systems.pretraining.job import Job
from sextant.systems.pretraining.rehearsal import (
    RANKS,
    make_job,
    rehearse,
    shape_in,
    small_model,
    unit_costs,
)
from sextant.units import show_seconds
from sextant.workload import Workload

__all__ = ["RANKS", "check_faults", "drill_training", "run_training", "set_training"]

_KILLED_S, _STOPPED_S, _AGAIN_S = 3.0, QUIET_S + 5.0, 60.0


def set_training(workload: Workload, folder: Path, *, corpus: str, minutes: float) -> Job:
    """The job that stands for the workload here: its proportions, in miniature.

    Raises:
        InputError: there is no such text.
    """
    model = trained_model(workload)
    assert model is not None
    large = shape_of(model)
    text = None if corpus == "stdlib" else Path(corpus)
    if text is not None and not text.exists():
        raise InputError("no such text", where="--corpus", hint="a file or folder, or stdlib")
    small = small_model(
        ffn_ratio=large.ffn / large.hidden, heads_per_key=large.heads / large.kv_heads
    )
    return make_job(small, folder, text, minutes)


def run_training(workload: Workload, job: Job, here: Machine) -> Rehearsal:
    """Writes the predictions and their hash, trains, writes what was measured.

    Raises:
        InputError: this machine has not been probed.
        EngineError: a rank cannot be run to its end.
    """
    shape = shape_in(job)
    quantities, lean = predict_training(shape, unit_costs(job), here)
    predictions = record.predictions_of(quantities)
    path = record.record_path()
    model = trained_model(workload)
    assert model is not None
    whole = parameters(model)
    scale = shape.model.parameters / whole
    about = {"workload": workload.name, "scale": scale, "shape": asdict(shape)}
    key = record.write_predictions(path, predictions, at_s=time.time(), about=about)
    seen = rehearse(job)
    record.write_measurements(path, key, seen.values, at_s=time.time(), outcome={"lean": seen.lean})
    busy, waiting = (
        {Axis(name): share for name, share in seen.lean.get(kind, {}).items()}
        for kind in ("busy", "waiting")
    )
    return Rehearsal(
        workload=workload.name,
        scale=scale,
        fleet=f"{here.cores} cores, {job.layout.ranks} rank processes ({job.layout.describe()})",
        sights=record.sights_of(predictions, seen.values),
        lean_predicted=lean,
        lean_measured=Lean(busy=busy, waiting=waiting),
        record=str(path),
        plan_sha256=key.plan_sha256,
        notes=(
            f"{shape.model.parameters:,} parameters, with the plan's proportions of a layer, stand "
            f"for {whole:,.0f}; one stage, so no bubble",
            f"{job.steps} steps of {shape.tokens:,.0f} tokens; record: {job.out}",
        ),
    )


def drill_training(job: Job, faults: Sequence[Fault]) -> DrillResult:
    """Trains with the faults, and once without, and judges.

    Raises:
        InputError: a fault names a rank that there is not.
        EngineError: the run was given up.
    """
    seen = drill(job, faults)
    expectations = (
        *(_landed(one) for one in seen.struck),
        *_mended(seen, job),
        Expectation(
            what="the weights of the run without faults, bit for bit",
            expected=True,
            measured=seen.same_weights,
            held=seen.same_weights,
        ),
    )
    return DrillResult(
        faults=tuple(
            FiredFault(spec=str(one.fault), fired_at_s=one.fired_at_s) for one in seen.struck
        ),
        recovery=_worst(seen),
        lost={
            "steps": sum(one["steps_lost"] or 0 for one in seen.recoveries),
            "losses": len(seen.recoveries),
            "goodput": seen.goodput,
            "goodput_without": seen.goodput_without,
        },
        held=all(e.held for e in expectations),
        expectations=expectations,
    )


def _landed(one: Struck) -> Expectation:
    landed = one.fired_at_s is not None
    return Expectation(what=f"{one.fault} lands", expected=True, measured=landed, held=landed)


def _mended(seen: Drilled, job: Job) -> list[Expectation]:
    found = []
    for loss in seen.recoveries:
        bound_s = _KILLED_S if "killed" in loss["why"] else _STOPPED_S
        again_s, steps = loss["restart_s"], loss["steps_lost"]
        told = f"noticed after {show_seconds(loss['detect_s'])}, {steps} steps lost"
        held = loss["detect_s"] <= bound_s and again_s is not None and again_s <= _AGAIN_S
        # A checkpoint that was being written when the rank was lost does not count.
        most = 2 * job.checkpoint_steps
        found.append(
            Expectation(
                what=f"rank {loss['rank']} ({loss['why']}) is started again",
                expected=f"noticed within {show_seconds(bound_s)}, at most {most} steps lost",
                measured=told,
                held=held and steps is not None and steps <= most,
            )
        )
    return found


def _worst(seen: Drilled) -> Recovery:
    def most(name: str) -> float | None:
        return max((one[name] for one in seen.recoveries if one[name] is not None), default=None)

    return Recovery(
        detect_s=most("detect_s"),
        restart_s=most("restart_s"),
        warm_s=most("warm_s"),
        full_s=most("full_s"),
    )
