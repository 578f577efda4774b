"""`sextant swarm bench`: onboard, edge or cloud, measured on this machine."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from sextant.cli.times import TIME_HELP, seconds
from sextant.errors import InputError
from sextant.units import show_seconds

_SIDE = 40
_SubParsers = argparse._SubParsersAction


def add_bench(commands: _SubParsers[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    what = "loop times of a mission; with --placements the same mission onboard, edge and cloud"
    parser = commands.add_parser(
        "bench",
        help=what,
        description=f"Measures {what}, the longest round trip to a brain that a 50 ms and a 2 s "
        f"loop stand, and what stops when the brain is killed. {TIME_HELP}.",
        epilog="example: sextant swarm bench --placements --json",
    )
    parser.add_argument("--placements", action="store_true", help="compare places for the brain")
    parser.add_argument("--map", metavar="FILE", help="(a field of our own, 40 m wide)")
    parser.add_argument("--cell", type=float, metavar="M", help="metres a cell of a .map (1)")
    parser.add_argument("--drones", type=int, default=3, metavar="N", help="(3)")
    parser.add_argument("--loss", type=float, default=0.0, metavar="P", help="by radio (0)")
    parser.add_argument("--seconds", default="30 s", metavar="T", help="of each mission (30 s)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="(0)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.set_defaults(run=_bench)


def _bench(args: argparse.Namespace) -> int:
    if not 1 <= args.drones <= 16:
        raise InputError(f"{args.drones} drones", where="--drones", hint="1 to 16")
    if not 0.0 <= args.loss < 1.0:
        raise InputError(f"a loss of {args.loss}", where="--loss", hint="0 or more, below 1")
    if args.seed < 0:
        raise InputError(f"a seed of {args.seed}", where="--seed", hint="0 or more")
    lasts_s = seconds(args.seconds, "--seconds", most_s=3600.0)
    with tempfile.TemporaryDirectory(prefix="sextant-swarm-") as folder:
        found = _measured(args, Path(folder), lasts_s)
    if args.json:
        print(json.dumps(found))
    else:
        _say(found)
    return 0


def _measured(args: argparse.Namespace, folder: Path, lasts_s: float) -> dict[str, Any]:
    from sextant.systems.swarm.placement import bench

    ground = bench.Ground(
        map_file=Path(args.map) if args.map else bench.field(folder / "field.map", _SIDE),
        cell_m=args.cell,
        drones=args.drones,
        seed=args.seed,
        loss=args.loss,
        seconds=lasts_s,
    )
    if not args.placements:
        flight = ground.flight(folder / "onboard", None)
        try:
            flight.start()
            return {"onboard": flight.watch(lambda _frame: None)}
        finally:
            flight.close()

    def told(what: str) -> None:
        print(what, file=sys.stderr)

    flown = bench.placements(ground, folder, told)
    stages_s = flown["onboard"]["stages_p50_s"]
    found: dict[str, Any] = {"placements": flown}
    found["break_even"] = bench.break_evens(ground, folder, stages_s, told)
    found["single_point_of_failure"] = bench.single_point(ground, folder, told)
    return found


def _say(found: dict[str, Any]) -> None:
    flown = found.get("placements", found)
    print("            missed  collisions  covered  found        bytes  loop p99")
    for name, one in flown.items():
        missed = f"{one['missed_deadlines']}/{one['ticks']}"
        print(
            f"{name:8} {missed:>10} {one['collisions']:11} {100 * one['coverage']:7.0f}% "
            f"{one['targets_found']:3}/{one['targets']} {one['bytes']:12,}  "
            f"{show_seconds(one['loop_p99_s'])}"
        )
    for row in found.get("break_even", []):
        measured = "none" if row["measured_s"] is None else show_seconds(row["measured_s"])
        print(
            f"a loop of {show_seconds(row['period_s'])}: a brain may be {measured} away; the plan "
            f"says {show_seconds(row['predicted_s'])}"
        )
        for where, place in (("edge", row["edge"]), *(("cloud", one) for one in row["cloud"])):
            left = show_seconds(place["left_to_perceive_and_plan_s"])
            verdict = "in time" if place["measured_in_time"] else "too late"
            foreseen = "in time" if place["predicted_in_time"] else "too late"
            print(
                f"  {where} at {show_seconds(place['round_trip_s'])}: {left} left, {verdict} "
                f"(the plan: {foreseen})"
            )
    points = found.get("single_point_of_failure", {})
    for victim, one in points.items():
        print(
            f"{victim} killed at {100 * one['coverage_when_killed']:.0f}% seen: "
            f"{one['flying_in_the_end']} drones fly on, {100 * one['coverage_in_the_end']:.0f}% "
            "seen in the end"
        )
