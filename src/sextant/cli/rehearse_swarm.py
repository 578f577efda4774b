"""How `sextant rehearse` and `sextant drill` run a swarm."""

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

_FAULTS = ("kill:drone/1@4s", "kill:launcher@6s", "kill:brain@4s")


def is_swarm(workload: Workload) -> bool:
    """Whether it is a swarm that can be flown here.

    Raises:
        EngineError: it is, and an engine is missing.
    """
    agents = workload.agents
    if agents is None or agents.control_period is None or agents.sensing_range is None:
        return False
    if workload.index is not None:
        return False
    for engine, package in (("zenoh", "eclipse-zenoh"), ("onnxruntime", "onnxruntime")):
        if find_spec(engine) is None:
            raise missing_engine(package, "swarm")
    return True


def rehearse_swarm(args: argparse.Namespace, workload: Workload) -> Rehearsal:
    """Rehearses; the flight's folder goes when it is over.

    Raises:
        InputError: an option is none of a swarm's.
        EngineError: the flight failed.
    """
    from sextant.facts import load_facts
    from sextant.sights.swarm import run_swarm, set_swarm

    _check(args)
    with tempfile.TemporaryDirectory(prefix="sextant-swarm-") as name:
        folder = Path(name)
        ground = set_swarm(folder, minutes=args.minutes)
        return run_swarm(workload, ground, folder, load_facts())


def drill_swarm(args: argparse.Namespace) -> DrillResult:
    """Drills.

    Raises:
        InputError: a fault is none of a flight's.
        EngineError: a mission does not end.
    """
    from sextant.fleet.fault import Fault
    from sextant.sights import swarm

    _check(args)
    faults = [Fault.parse(text) for text in args.fault or _FAULTS]
    swarm.check_faults(faults, swarm.DRONES)
    with tempfile.TemporaryDirectory(prefix="sextant-swarm-") as name:
        folder = Path(name)
        ground = swarm.set_swarm(folder, minutes=args.minutes, drilled=True)
        return swarm.drill_swarm(ground, folder, faults)


def _check(args: argparse.Namespace) -> None:
    for option, given in (("--scale", args.scale != "auto"), ("--corpus", args.corpus != "stdlib")):
        if given:
            raise InputError("not of a swarm", where=option, hint="leave it away")
