"""`sextant probe`: measures this machine and keeps it among the facts."""

from __future__ import annotations

import argparse
from typing import Any

from sextant.cli.specs import add_json, print_json


def add_parser(subparsers: Any) -> None:
    """Adds the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "probe",
        help="measure this machine, in about half a minute",
        description="Measures memory bandwidth, matrix products, disk, loopback, index scan and "
        "process start with microbenchmarks that never run a system; keeps them as the machine "
        "`here` among the facts.",
        epilog="example: sextant probe && sextant facts show here",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Probes, keeps and prints."""
    from sextant.facts.probe import keep

    machine = probe_with_bar()
    path = keep(machine)
    if args.json:
        print_json({"machine": machine.name, "kept": str(path), "measured": dict(machine.measured)})
        return 0
    width = max(len(name) for name in machine.measured)
    for name, value in machine.measured.items():
        print(f"{name:<{width}}  {show_measured(name, value)}")
    print(f"\nkept as the machine `{machine.name}`: {path}")
    return 0


def probe_with_bar() -> Any:
    """Runs the probe behind a progress bar on stderr."""
    from datetime import UTC, datetime

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from sextant.facts.probe import run_probe

    columns = (TextColumn("probing {task.description:<28}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def progress(name: str, number: int, total: int) -> None:
            bar.update(task, description=name, completed=number, total=total)

        return run_probe(datetime.now(UTC).date().isoformat(), progress)


def show_measured(name: str, value: float) -> str:
    """A measured unit cost as people read it."""
    from sextant.units import show

    for ending, unit in (
        ("flops_per_s", "FLOP/s"),
        ("bytes_per_s", "B/s"),
        ("_bytes", "B"),
        ("_s", "s"),
    ):
        if name.endswith(ending):
            return show(value, unit)
    return f"{value:.3g}"
