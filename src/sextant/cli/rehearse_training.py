"""How `sextant rehearse` and `sextant drill` run a training."""

from __future__ import annotations

import argparse
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sextant.errors import InputError, missing_engine

if TYPE_CHECKING:
    from sextant.sights.rehearsal import DrillResult, Rehearsal
    from sextant.workload import Workload

_FAULTS = ("kill:rank/1@step=6", "stop:rank/0@step=14")
_MINUTES = 1.0
"""Of a drill at most: what it shows does not grow with its length."""


def is_training(workload: Workload) -> bool:
    """Whether it is a training that can be run here.

    Raises:
        EngineError: it is, and torch is missing.
    """
    from sextant.plan.demand import trained_model

    model = trained_model(workload)
    decoder = model is not None and model.kind == "decoder" and workload.sites is None
    if not decoder or workload.training is None:
        return False
    for engine in ("torch", "tokenizers"):
        if find_spec(engine) is None:
            raise missing_engine(engine, "pretraining")
    return True


def rehearse_training(args: argparse.Namespace, workload: Workload) -> Rehearsal:
    """Rehearses; the runs' folders go when it is over.

    Raises:
        InputError: a scale is asked for, or there is no such text.
        EngineError: a rank cannot be run.
    """
    from sextant.cli.rehearse import this_machine
    from sextant.sights.training import run_training, set_training

    _check(args)
    here = this_machine()
    with tempfile.TemporaryDirectory(prefix="sextant-") as folder:
        job = set_training(workload, Path(folder), corpus=args.corpus, minutes=args.minutes)
        return run_training(workload, job, here)


def drill_training(args: argparse.Namespace, workload: Workload) -> DrillResult:
    """Drills.

    Raises:
        InputError: a fault is none of a rank's.
        EngineError: the run was given up.
    """
    from sextant.fleet.fault import Fault
    from sextant.sights import training

    _check(args)
    faults = [Fault.parse(text) for text in args.fault or _FAULTS]
    minutes = min(_MINUTES, args.minutes)
    with tempfile.TemporaryDirectory(prefix="sextant-") as folder:
        training.check_faults(faults, training.RANKS)
        job = training.set_training(workload, Path(folder), corpus=args.corpus, minutes=minutes)
        return training.drill_training(job, faults)


def _check(args: argparse.Namespace) -> None:
    if args.scale != "auto":
        hint = "leave it away: a training is rehearsed in one size"
        raise InputError("not of a training", where="--scale", hint=hint)
