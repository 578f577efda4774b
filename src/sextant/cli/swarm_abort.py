"""`sextant swarm abort`: an operator lands everyone."""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from sextant.cli.times import TIME_HELP, seconds
from sextant.errors import EngineError, SextantError

if TYPE_CHECKING:
    from sextant.systems.swarm.mission.abort import Landed

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
        help="the folder of a flight, or the orders of one of its drones (every flight of yours "
        "that is in the air on this machine)",
    )
    parser.add_argument("--within", default="30 s", metavar="T", help="they must land (30 s)")
    parser.add_argument("--json", action="store_true", help="a JSON object a flight, each a line")
    parser.set_defaults(run=_abort)


def _abort(args: argparse.Namespace) -> int:
    from sextant.systems.swarm.mission.abort import flights_here

    within_s = seconds(args.within, "--within", most_s=3600.0)
    places = [Path(args.config)] if args.config else flights_here()
    failures: list[SextantError] = []
    # At the same time: no flight waits for another's silent drone.
    with ThreadPoolExecutor(len(places)) as landing:
        for place, under_way in [(p, landing.submit(_land, p, within_s)) for p in places]:
            try:
                _say(place, under_way.result(), as_json=args.json)
            except SextantError as error:
                failures.append(error)
    for failure in failures[1:]:
        print(f"error: {failure}", file=sys.stderr)
    if failures:
        raise failures[0]
    return 0


def _land(place: Path, within_s: float) -> Landed:
    """Lands one flight; what goes wrong names it."""
    from sextant.systems.swarm.mission.abort import land_all, orders_in

    orders = orders_in(place)
    print(f"landing the flight of {place}", file=sys.stderr)
    try:
        return land_all(orders, within_s)
    except EngineError as error:
        error.where = str(place)
        raise


def _say(place: Path, landed: Landed, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"flight": str(place), **asdict(landed)}))
        return
    count = len(landed.down) + len(landed.silent)
    print(f"{len(landed.down)} of {count} drones are down")
    if landed.silent:
        print(f"not heard of: drone {', '.join(map(str, landed.silent))}")
