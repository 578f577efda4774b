"""`sextant swarm abort`: an operator lands everyone."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from sextant.cli.times import TIME_HELP, seconds

_SubParsers = argparse._SubParsersAction


def add_abort(commands: _SubParsers[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    what = "land everyone of a flight, also one whose launcher is gone"
    parser = commands.add_parser(
        "abort",
        help=what,
        description=f"{what[0].upper()}{what[1:]}: joins the wire as one more peer. One drone that "
        f"hears it is enough, the others hear of it. {TIME_HELP}.",
        epilog="example: sextant swarm abort --config drone-0.orders.json",
    )
    parser.add_argument(
        "--config",
        metavar="PATH",
        help="the folder of a flight, or the orders of one of its drones (the flight that was "
        "started last on this machine)",
    )
    parser.add_argument("--within", default="30 s", metavar="T", help="they must land (30 s)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.set_defaults(run=_abort)


def _abort(args: argparse.Namespace) -> int:
    from sextant.systems.swarm.mission.abort import land_all, newest_flight, orders_in

    within_s = seconds(args.within, "--within", most_s=3600.0)
    place = Path(args.config) if args.config else newest_flight()
    orders = orders_in(place)
    print(f"landing the flight of {place}", file=sys.stderr)
    landed = land_all(orders, within_s)
    if args.json:
        print(json.dumps(asdict(landed)))
        return 0
    print(f"{len(landed.down)} drones are down")
    if landed.silent:
        print(f"not heard of: drone {', '.join(map(str, landed.silent))}")
    return 0
