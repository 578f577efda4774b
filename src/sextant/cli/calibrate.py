"""`sextant calibrate`: a machine's few constants from measured runs on it."""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sextant.cli.backtest import read_rows, write
from sextant.cli.specs import add_json, print_json
from sextant.errors import InputError

if TYPE_CHECKING:
    from sextant.facts.training import TrainingFacts
    from sextant.plan.calibrate import Fit

EVERY = "all"


def add_parser(subparsers: Any) -> None:
    """Adds the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "calibrate",
        help="fit a machine's few constants to measured runs",
        description="Fits constants to runs, near what benchmarks say, and tests them on runs "
        "held back. The file is read by `sextant backtest --constants`.",
        epilog="example: sextant calibrate runs.json --machine h100 --out h100.toml",
    )
    parser.add_argument("rows", type=Path, metavar="ROWS.json", help="a list of runs")
    parser.add_argument(
        "--machine", required=True, metavar="NAME", help=f"or '{EVERY}': all constants, all runs"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="TOML to write")
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Writes the constants and prints how well they do, held back too."""
    rows = read_rows(args.rows)
    from sextant.facts import load_facts
    from sextant.facts.training import load_training_facts
    from sextant.plan.calibrate import MACHINE_CONSTANTS, calibrate
    from sextant.plan.predictions import batch

    facts, training = load_facts(), load_training_facts()
    names = tuple(training.constant) if args.machine == EVERY else MACHINE_CONSTANTS
    name = EVERY if args.machine == EVERY else facts.machine(args.machine).name
    kept = [row for row in rows if name == EVERY or _is_on(row, name, facts)]
    asked = batch(kept, facts, training)
    measured = [r for r in asked.rows if r["measured"].get("step_s")]
    if not measured:
        raise InputError(
            f"no measured run on {name}",
            where=str(args.rows),
            hint="rows need `machine`, `model`, `layout` and `measured.step_s` (or a throughput)",
        )
    start = "prior" if name == EVERY else "value"
    fitted = calibrate(asked, training, names=names, start=start)
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    write(args.out, toml(fitted, training, name, args.rows.name, today))
    if args.json:
        print_json(
            {
                "machine": name,
                "rows": fitted.rows,
                "mean_error": fitted.mean_error,
                "held_back_error": fitted.held_back_error,
                "constants": {n: getattr(fitted.constants, n) for n in fitted.moved},
                "moved": dict(fitted.moved),
                "unpredictable": dict(asked.unpredictable),
                "out": str(args.out),
            }
        )
        return 0
    held = fitted.held_back_error
    print(f"{name}: {fitted.rows} runs, mean error {fitted.mean_error:.1%}", end="")
    print("" if held is None else f", {held:.1%} on runs held back (five folds)")
    for constant, by in fitted.moved.items():
        print(f"  {constant:<22}{getattr(fitted.constants, constant):<12.4g}{by:+.2f} spreads")
    for row, why in asked.unpredictable.items():
        print(f"  left out {row}: {why}")
    print(f"written: {args.out}")
    return 0


def _is_on(row: Any, machine: str, facts: Any) -> bool:
    try:
        return bool(facts.machine(str(row["machine"])).name == machine)
    except (InputError, KeyError, TypeError):
        return False


def toml(fitted: Fit, training: TrainingFacts, machine: str, rows: str, date: str) -> str:
    """The constants as rows of facts."""
    lines = [f"# Written by `sextant calibrate`: {fitted.rows} runs of {rows}.", ""]
    for name, moved in fitted.moved.items():
        prior = training.constant[name]
        lines += [
            f"[constant.{name}]",
            f"value = {getattr(fitted.constants, name):.6g}",
            f"prior = {float(prior['prior']):.6g}",
            f"spread = {float(prior['spread']):.6g}",
            f'unit = "{prior["unit"]}"',
            f'machine = "{machine}"',
            f'set_by = "{fitted.rows} runs of {rows}, moved {moved:+.2f} spreads"',
            f'source = "sextant calibrate"\ndate = "{date}"',
            "",
        ]
    return "\n".join(lines)
