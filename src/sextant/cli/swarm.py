"""`sextant swarm`: fly a search-and-map mission, run one drone, watch, measure."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sextant.cli.swarm_abort import add_abort
from sextant.cli.swarm_bench import add_bench
from sextant.cli.times import TIME_HELP, seconds
from sextant.errors import InputError

if TYPE_CHECKING:
    from sextant.systems.swarm.mission.places import Reach
    from sextant.systems.swarm.mission.stepped import Flown, Mission, MissionRule
    from sextant.systems.swarm.placement.link import LinkRule

_SubParsers = argparse._SubParsersAction
_ROUND_TRIPS_S = {"onboard": 0.0, "edge": 0.008, "cloud": 0.075}
"""Without --round-trip; the textbook's: 8 ms to an edge, 50 to 100 ms to a cloud."""
_MOST_DRONES = 64
_PORT = 8766


def add_parser(commands: _SubParsers[argparse.ArgumentParser]) -> None:
    """Adds `swarm` and its commands."""
    what = "fly a drone swarm that agrees without a chief"
    parser = commands.add_parser(
        "swarm",
        help=what,
        description=f"{what[0].upper()}{what[1:]}.",
        epilog="example: sextant swarm fly --map warehouse.yaml --drones 8 --stepped",
    )
    of_swarm = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_fly(of_swarm)
    _add_watch(of_swarm)
    add_abort(of_swarm)
    add_bench(of_swarm)
    _add_process(of_swarm, "drone", "one drone, on its own computer", _drone)
    _add_process(of_swarm, "brain", "the minds of drones that do not decide on board", _brain)
    _add_process(of_swarm, "simulate", "the physics of a mission, and nothing else", _simulate)


def _add_fly(commands: _SubParsers[argparse.ArgumentParser]) -> None:
    what = "a mission: search a map that nobody knows, find the targets, come home"
    parser = commands.add_parser(
        "fly",
        help=what,
        description=f"{what[0].upper()}{what[1:]}. {TIME_HELP}.",
        epilog="example: sextant swarm fly --map maze.map --drones 8 --loss 0.2 --stepped",
    )
    parser.add_argument(
        "--map", required=True, metavar="FILE", help="ROS map_server .yaml, or MovingAI .map"
    )
    parser.add_argument("--cell", type=float, metavar="M", help="metres a cell of a .map (1)")
    parser.add_argument("--drones", type=int, default=4, metavar="N", help="(4)")
    parser.add_argument("--targets", type=int, default=6, metavar="N", help="hidden (6)")
    parser.add_argument("--brain", choices=tuple(_ROUND_TRIPS_S), default="onboard")
    parser.add_argument("--round-trip", metavar="T", help="to the brain (edge 8 ms, cloud 75 ms)")
    parser.add_argument("--jitter", metavar="T", help="deviation of the round trip (0)")
    parser.add_argument("--outage", metavar="T+T", help="of the link: from, and for how long")
    parser.add_argument(
        "--loss",
        type=float,
        default=0.0,
        metavar="P",
        help="of what goes by radio: words, or readings and setpoints (0)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="(0)")
    parser.add_argument("--most", default="600 s", metavar="T", help="ended after (600 s)")
    parser.add_argument(
        "--stepped", action="store_true", help="in one process and in lock step: deterministic"
    )
    parser.add_argument("--record", metavar="FILE", help="write the flight, a line a frame")
    parser.add_argument("--video", metavar="FILE", help="draw the flight: .mp4 or .gif")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.set_defaults(run=_fly)


def _add_watch(commands: _SubParsers[argparse.ArgumentParser]) -> None:
    what = "a page with the map, the drones and who does what, live or from a record"
    parser = commands.add_parser(
        "watch",
        help=what,
        description=f"{what[0].upper()}{what[1:]}. Only this machine is served.",
        epilog="example: sextant swarm watch --record flight.jsonl --port 8766",
    )
    parser.add_argument(
        "--record", metavar="FILE", help="of `swarm fly --record` (the newest .jsonl here)"
    )
    parser.add_argument(
        "--port", type=int, default=_PORT, metavar="P", help=f"0 takes a free one ({_PORT})"
    )
    parser.set_defaults(run=_watch)


def _watch(args: argparse.Namespace) -> int:
    from sextant.systems.swarm.sight.watch import newest_record, server

    if not 0 <= args.port < 65536:
        raise InputError(f"port {args.port}", where="--port")
    record = Path(args.record) if args.record else newest_record(Path.cwd())
    with server(record, args.port) as serving:
        print(f"http://127.0.0.1:{serving.server_port}/", flush=True)
        serving.serve_forever()
    return 0


def _add_process(
    commands: _SubParsers[argparse.ArgumentParser],
    name: str,
    what: str,
    run: Callable[[argparse.Namespace], int],
) -> None:
    parser = commands.add_parser(
        name,
        help=what,
        description=f"{what[0].upper()}{what[1:]}. `swarm fly` writes the file and runs this.",
        epilog=f"example: sextant swarm {name} --config {name}.json",
    )
    parser.add_argument("--config", required=True, metavar="FILE", help="its orders, as JSON")
    parser.set_defaults(run=run)


def _drone(args: argparse.Namespace) -> int:
    from sextant.systems.swarm.drone.process import run_drone
    from sextant.systems.swarm.mission.orders import DroneOrders, read_orders
    from sextant.systems.swarm.placement.tether import run_tethered

    orders = read_orders(Path(args.config), DroneOrders)
    fly = run_drone if orders.link is None else run_tethered
    fly(orders)
    return 0


def _brain(args: argparse.Namespace) -> int:
    from sextant.systems.swarm.mission.orders import BrainOrders, read_orders
    from sextant.systems.swarm.placement.brain import run_brain

    run_brain(read_orders(Path(args.config), BrainOrders))
    return 0


def _simulate(args: argparse.Namespace) -> int:
    from sextant.systems.swarm.mission.orders import WorldOrders, read_orders
    from sextant.systems.swarm.world.process import run_world

    run_world(read_orders(Path(args.config), WorldOrders))
    return 0


def _fly(args: argparse.Namespace) -> int:
    rule = _rule(args)
    if args.video is not None:
        from sextant.systems.swarm.sight.video import check_video

        check_video(Path(args.video))
    with tempfile.TemporaryDirectory(prefix="sextant-swarm-") as folder:
        record = Path(args.record) if args.record else Path(folder) / "flight.jsonl"
        if args.stepped:
            figures = _fly_stepped(args, rule, record)
        else:
            figures = _fly_processes(args, rule, record, Path(folder))
        if args.video is not None:
            from sextant.systems.swarm.sight.video import write_video

            write_video(record, Path(args.video))
    _say(figures, as_json=args.json)
    return 0


def _fly_stepped(args: argparse.Namespace, rule: MissionRule, record: Path) -> dict[str, Any]:
    from sextant.systems.swarm.mission.stepped import Mission
    from sextant.systems.swarm.world.maps import read_map

    mission = Mission(read_map(Path(args.map), cell_m=args.cell), rule)
    _warn(mission.reach)
    return _figures(_recorded(mission, record))


def _fly_processes(
    args: argparse.Namespace, rule: MissionRule, path: Path, folder: Path
) -> dict[str, Any]:
    from sextant.systems.swarm.mission.launch import Flight
    from sextant.systems.swarm.mission.orders import LinkOrders
    from sextant.systems.swarm.mission.record import Record

    link = None if args.brain == "onboard" else LinkOrders(**asdict(rule.brain))
    flight = Flight(
        Path(args.map),
        folder,
        cell_m=args.cell,
        drones=rule.drones,
        targets=rule.num_targets,
        loss=rule.loss_probability,
        seed=rule.world.seed,
        most_s=rule.most_s,
        link=link,
    )
    _warn(flight.reach)
    try:
        with Record(path) as record:
            record.add(flight.start_line())
            flight.start()

            def each(frame: dict[str, Any]) -> None:
                record.add(frame)
                _progress(frame)

            try:
                figures = flight.watch(each)
            except KeyboardInterrupt:

                def down(frame: dict[str, Any]) -> None:
                    flight.abort()  # Once more each time: drones that only start hear none before.
                    each(frame)

                flight.abort()
                flight.watch(down)
                raise
            record.add({"kind": "end", **figures})
    finally:
        flight.close()
    if figures["aborted"]:
        print("warning: aborted: an operator landed everyone", file=sys.stderr)
    return figures


def _warn(reach: Reach) -> None:
    """Say before take-off what nobody will search."""
    if reach.left_out_m2 > 0.0:
        what = f"{reach.left_out_m2:,.4g} m2 cannot be reached from any start, and are left out"
        print(f"warning: {what}", file=sys.stderr)


def _rule(args: argparse.Namespace) -> MissionRule:
    """The mission that was asked for.

    Raises:
        InputError: an option is out of bounds.
    """
    from sextant.systems.swarm.mission.stepped import MissionRule
    from sextant.systems.swarm.world.world import WorldRule

    if not 1 <= args.drones <= _MOST_DRONES:
        raise InputError(f"{args.drones} drones", where="--drones", hint=f"1 to {_MOST_DRONES}")
    if not 0.0 <= args.loss < 1.0:
        raise InputError(f"a loss of {args.loss}", where="--loss", hint="0 or more, below 1")
    if args.targets < 0:
        raise InputError(f"{args.targets} targets", where="--targets", hint="0 or more")
    if args.seed < 0:
        raise InputError(f"a seed of {args.seed}", where="--seed", hint="0 or more")
    return MissionRule(
        drones=args.drones,
        num_targets=args.targets,
        loss_probability=args.loss if args.brain == "onboard" else 0.0,
        most_s=seconds(args.most, "--most", most_s=86_400.0),
        brain=_link(args),
        world=WorldRule(seed=args.seed),
    )


def _link(args: argparse.Namespace) -> LinkRule:
    """The link to the brain.

    Raises:
        InputError: it is on board and has none, or a time is none.
    """
    from sextant.systems.swarm.placement.link import LinkRule

    asked = {"--round-trip": args.round_trip, "--jitter": args.jitter, "--outage": args.outage}
    if args.brain == "onboard":
        for option, text in asked.items():
            if text is not None:
                what = "a brain on board has no link to it"
                raise InputError(what, where=option, hint="--brain edge")
        return LinkRule()
    trip_s, jitter_s = _ROUND_TRIPS_S[args.brain], 0.0
    if args.round_trip is not None:
        trip_s = seconds(args.round_trip, "--round-trip", most_s=60.0, or_zero=True)
    if args.jitter is not None:
        jitter_s = seconds(args.jitter, "--jitter", most_s=60.0, or_zero=True)
    outage_s = None
    if args.outage is not None:
        begin, _, lasts = args.outage.partition("+")
        begin_s = seconds(begin, "--outage", most_s=86_400.0, or_zero=True)
        outage_s = (begin_s, begin_s + seconds(lasts, "--outage", most_s=86_400.0))
    return LinkRule(
        round_trip_s=trip_s, jitter_s=jitter_s, loss_probability=args.loss, outage_s=outage_s
    )


def _recorded(mission: Mission, path: Path) -> Flown:
    from sextant.systems.swarm.mission.record import Record

    with Record(path) as record:
        record.add(mission.start_line())

        def each(flying: Mission) -> None:
            frame = flying.frame()
            record.add(frame)
            _progress(frame)

        flown = mission.fly(each)
        record.add({"kind": "end", **_figures(flown)})
    return flown


def _progress(frame: dict[str, Any]) -> None:
    if sys.stderr.isatty():
        up, share = len(frame["drones"]), 100 * frame["coverage"]
        text = f"{frame['at_s']:6.1f} s  {share:5.1f}% seen  {up} in the air"
        print(f"\r{text}", end="", file=sys.stderr, flush=True)


def _figures(flown: Flown) -> dict[str, Any]:
    """The object of `fly --json`."""
    from sextant.systems.swarm.mission.record import thinned

    gap_m = flown.least_gap_m
    return {
        "collisions": len(flown.collisions),
        "coverage": round(flown.coverage, 4),
        "time_to_95_s": flown.time_to_95_s,
        "targets_found": flown.targets_found,
        "targets": flown.targets,
        "false_alarms": flown.false_alarms,
        "loop_p50_s": flown.loop_p50_s,
        "loop_p99_s": flown.loop_p99_s,
        "missed_deadlines": flown.missed_deadlines,
        "min_separation_m": round(gap_m, 3) if gap_m < 1e6 else None,
        "bytes": flown.words_bytes + flown.link_bytes,
        "lost_drones": flown.lost,
        "landed": flown.landed,
        "seconds": round(flown.seconds, 2),
        "curve": thinned(flown.curve),
    }


def _say(figures: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(figures))
        return
    if sys.stderr.isatty():
        print(file=sys.stderr)
    for name, value in figures.items():
        if name == "curve":
            continue
        shown = f"{value:.4g}" if isinstance(value, float) else value
        print(f"{name:18} {shown}")
