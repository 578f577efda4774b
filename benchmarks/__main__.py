"""`make bench`: runs the benchmarks one after the other, and writes a dated JSON."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.bench import Figure, Skipped, as_json
from sextant.units import show

BENCHMARKS = (
    "fan_out",
    "stalled_shard",
    "two_routers",
    "kill_indexing",
    "embedding",
    "scifact",
    "squad",
    "rehearsal",
    "million",
    "eight_shards",
    "ten_million",
    "learns",
    "checkpoint_stall",
    "diloco",
    "kill_training",
    "memory_per_rank",
    "step_time",
    "swarm_perception",
    "swarm_losses",
    "swarm_realtime",
)

SOAKED = (
    "overload",
    "rehearsals",
    "training_faults",
    "training_advice",
    "swarm_missions",
    "swarm_live",
    "swarm_orca",
)
"""Too long, or too hard on a machine, to run unasked: by name, and under `--soak`."""
_OVERLOADED_S = "1200"


def main() -> int:
    """Runs those named, or all; exits 1 if a bar does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS + SOAKED))
    parser.add_argument(
        "--soak", action="store_true", help="each three times over, and the long ones"
    )
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="folder of the JSON")
    args = parser.parse_args()
    if unknown := set(args.names) - {*BENCHMARKS, *SOAKED}:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    if args.soak:
        os.environ.setdefault("SEXTANT_OVERLOAD_S", _OVERLOADED_S)
    held, results = True, {}
    for name in _chosen(tuple(args.names), soak=args.soak):
        print(f"\n{name}", flush=True)
        start_s = time.perf_counter()
        try:
            figures: list[Figure] = importlib.import_module(f"benchmarks.{name}").run()
        except Skipped as why:
            print(f"  skipped: {why}")
            results[name] = {"skipped": str(why)}
            continue
        for figure in figures:
            _print(figure)
            held = held and figure.held is not False
        seconds = time.perf_counter() - start_s
        print(f"  in {seconds:.0f} s")
        results[name] = {"figures": [as_json(f) for f in figures], "seconds": seconds}
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"{datetime.now(UTC):%Y-%m-%dT%H%M%S}.json"
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"\n{path}: {'every bar held' if held else 'A BAR DID NOT HOLD'}")
    return 0 if held else 1


def _chosen(names: tuple[str, ...], *, soak: bool) -> tuple[str, ...]:
    """What to run, in this order."""
    if not soak:
        return names or BENCHMARKS
    return names or BENCHMARKS * 3 + SOAKED


def _print(figure: Figure) -> None:
    mark = {None: " ", True: "✓", False: "✗"}[figure.held]
    beside = ", ".join(
        f"{name} {show(value, figure.unit)}" for name, value in figure.beside.items()
    )
    print(f"  {mark} {figure.name:<32} {show(figure.measured, figure.unit):>12}   {beside}")
    if figure.bar:
        print(f"      bar: {figure.bar}")


if __name__ == "__main__":
    raise SystemExit(main())
