"""`sextant drill`: faults into a running rehearsal, and what the plan expects of them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from sextant.cli.plan import plan_for
from sextant.cli.rehearse import add_scale, scale_of, this_machine
from sextant.cli.specs import add_json, load_spec, print_json
from sextant.cli.times import TIME_HELP, seconds
from sextant.errors import InputError, missing_engine

if TYPE_CHECKING:
    from sextant.sights.rehearsal import DrillResult

SYSTEMS = {
    "rag": "atlas:web-scale-rag",
    "recommender": "atlas:planetary-recommender",
    "pretraining": "atlas:foundation-pretraining",
    "swarm": "atlas:drone-swarm",
    "federated": "atlas:federated-imaging",
}
DEFAULT_FAULTS = ("stop:shard/1@1s+2s", "kill:shard/0@5s")
_LONGEST_DEADLINE_S = 3600.0


def add_parser(subparsers: Any) -> None:
    """Adds the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "drill",
        help="stop, kill or slow parts of a running rehearsal, and see what it costs",
        description="SPEC may also be a system: " + ", ".join(SYSTEMS) + ". A fault is "
        "kill:shard/3@2s, stop:shard/1@1s+2s (resumed after 2 s) or slow:shard/2=50ms@1s; of a "
        "training kill:rank/1@2s or stop:rank/0@step=8; of a swarm kill:drone/1@4s, "
        "kill:launcher@6s or kill:brain@4s. "
        f"{TIME_HELP}.",
        epilog="example: sextant drill rag --fault stop:shard/1@1s+2s",
    )
    add_scale(parser)
    parser.add_argument("--fault", action="append", metavar="FAULT", help="again for more faults")
    parser.add_argument("--deadline", default="200 ms", metavar="T", help="of a query (200 ms)")
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Drills, and prints what was lost, what came back and when, and what held."""
    scale, deadline_s = (
        scale_of(args),
        seconds(args.deadline, "--deadline", most_s=_LONGEST_DEADLINE_S),
    )
    spec = SYSTEMS.get(args.spec, args.spec)
    workload, plan = load_spec(spec), plan_for(spec)
    from sextant.cli.rehearse_swarm import drill_swarm, is_swarm
    from sextant.cli.rehearse_training import drill_training, is_training

    if is_training(workload):
        _show(args, drill_training(args, workload))
        return 0
    if is_swarm(workload):
        _show(args, drill_swarm(args))
        return 0
    try:
        from sextant.fleet import Fault, Fleet
        from sextant.sights import rehearse
        from sextant.systems.rag.drawn import drawn
    except ModuleNotFoundError as error:
        raise missing_engine(error.name or "an engine", "rag") from None
    rehearse.check_runnable(workload)
    faults = [Fault.parse(text) for text in args.fault or DEFAULT_FAULTS]
    here = this_machine()
    stage = rehearse.set_stage(
        workload, plan, here, corpus=args.corpus, scale=scale, minutes=args.minutes
    )
    known = [f"shard/{n}" for n in range(stage.shape.shards)]
    for fault in faults:
        if fault.member not in known:
            hint = f"there are {known[0]} to {known[-1]}"
            raise InputError(f"no member {fault.member!r}", where="--fault", hint=hint)
    with drawn() as progress, Fleet.start(args.fleet) as fleet:
        result, _ = rehearse.run_drill(
            stage, fleet, faults, deadline_s=deadline_s, progress=progress
        )
    _show(args, result)
    return 0


def _show(args: argparse.Namespace, result: DrillResult) -> None:
    if args.json:
        from sextant.sights.as_json import drill_json

        print_json(drill_json(result))
    else:
        from sextant.sights.report import print_drill

        print_drill(result)
