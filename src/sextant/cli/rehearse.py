"""`sextant rehearse`: runs the plan's shape, scaled to this machine; predicted beside measured."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sextant.cli.plan import map_rows, plan_for, write
from sextant.cli.specs import add_json, load_spec, print_json
from sextant.errors import InputError, missing_engine

if TYPE_CHECKING:
    from sextant.facts import Machine
    from sextant.plan.quantity import Plan
    from sextant.sights.rehearsal import Rehearsal


def add_parser(subparsers: Any) -> None:
    """Adds the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "rehearse",
        help="run the plan's shape on this machine, predicted beside measured",
        description="Predicts from the probe's unit costs, writes the prediction down, runs the "
        "shape on real documents, and sets each number beside its prediction.",
        epilog="example: sextant rehearse atlas:web-scale-rag --minutes 2 --html report.html",
    )
    add_scale(parser)
    parser.add_argument("--html", metavar="FILE", type=Path, help="write the report")
    add_json(parser)
    parser.set_defaults(run=run)


def add_scale(parser: argparse.ArgumentParser) -> None:
    """Adds what says how much to run, on what, and where."""
    parser.add_argument("spec", metavar="SPEC", help="a TOML file, or atlas:NAME")
    parser.add_argument(
        "--scale", default="auto", metavar="auto|X", help="share of the plan's size, as 1e-6 (auto)"
    )
    parser.add_argument("--minutes", type=float, default=2.0, metavar="M", help="time to use (2)")
    parser.add_argument(
        "--corpus", default="stdlib", metavar="PATH", help="documents to run on (stdlib)"
    )
    parser.add_argument(
        "--fleet", metavar="ADDRESS", help="a running Ray cluster; else a local one"
    )


def scale_of(args: argparse.Namespace) -> float | None:
    """The scale asked for; None is auto.

    Raises:
        InputError: it is not a share in (0, 1], or the minutes are not above 0.
    """
    if not 0 < args.minutes <= 24 * 60:
        hint = "some minutes, such as 2"
        raise InputError(f"minutes above 0, not {args.minutes}", where="--minutes", hint=hint)
    if args.scale == "auto":
        return None
    try:
        scale = float(args.scale)
    except ValueError:
        scale = 0.0
    if not 0 < scale <= 1:
        hint = "auto, or a share such as 1e-6"
        raise InputError(f"not a scale: {args.scale[:40]!r}", where="--scale", hint=hint)
    return scale


def this_machine() -> Machine:
    """The probe's machine at its speed of this minute, which the predictions stand on.

    Probes the whole of it, once, where that has not been done.

    Raises:
        EngineError: an engine is missing, so that the probe would leave its unit costs out.
    """
    from sextant.facts import load_facts
    from sextant.facts.probe import HERE, keep, refresh

    for engine in ("faiss", "torch", "ray", "zenoh"):
        # Not imported: Ray reads its environment when it is, and the fleet has yet to set it.
        if find_spec(engine) is None:
            raise missing_engine(engine, "rag")
    facts = load_facts()
    if HERE in facts.machines:
        print("taking this machine's pace, about ten seconds", file=sys.stderr)
        now: Machine = refresh(facts.machines[HERE])
        return now
    from sextant.cli.probe import probe_with_bar

    print("this machine has not been probed; doing so, once", file=sys.stderr)
    machine: Machine = probe_with_bar()
    keep(machine)
    return machine


def run(args: argparse.Namespace) -> int:
    """Rehearses, and prints or writes what was seen."""
    scale = scale_of(args)
    workload, plan = load_spec(args.spec), plan_for(args.spec)
    from sextant.cli.rehearse_swarm import is_swarm, rehearse_swarm
    from sextant.cli.rehearse_training import is_training, rehearse_training

    if is_training(workload):
        _show(args, plan, workload.title, rehearse_training(args, workload))
        return 0
    if is_swarm(workload):
        _show(args, plan, workload.title, rehearse_swarm(args, workload))
        return 0
    try:
        from sextant.fleet import Fleet
        from sextant.sights import rehearse
        from sextant.systems.rag.drawn import drawn
    except ModuleNotFoundError as error:
        raise missing_engine(error.name or "an engine", "rag") from None
    rehearse.check_runnable(workload)
    from sextant.facts import load_facts

    here = this_machine()
    stage = rehearse.set_stage(
        workload, plan, here, corpus=args.corpus, scale=scale, minutes=args.minutes
    )
    with drawn() as progress, ExitStack() as stack:

        def start() -> Fleet:
            return stack.enter_context(Fleet.start(args.fleet))

        seen = rehearse.run_rehearsal(stage, here, load_facts(), start, progress, workload=workload)
    _show(args, plan, workload.title, seen)
    return 0


def _show(args: argparse.Namespace, plan: Plan, title: str | None, seen: Rehearsal) -> None:
    if args.html is not None:
        from sextant.sights.report import report_page

        write(args.html, report_page(plan, seen, title=title, rows=map_rows(plan)), "--html")
    if args.json:
        from sextant.sights.as_json import rehearsal_json

        print_json(rehearsal_json(seen))
    elif args.html is None:
        from sextant.sights.report import print_rehearsal

        print_rehearsal(seen)
