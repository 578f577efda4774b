"""`sextant facts`: machines, links, rates and prices, with source and date."""

from __future__ import annotations

import argparse
import difflib
from dataclasses import asdict
from typing import Any

from sextant.cli.specs import add_json, print_json
from sextant.errors import InputError
from sextant.facts import Fact, Machine, load_facts
from sextant.units import show


def add_parser(subparsers: Any) -> None:
    """Adds the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "facts",
        help="what is taken to be true of hardware, links, failures and prices",
        epilog="example: sextant facts show h100",
    )
    verbs = parser.add_subparsers(metavar="list|show", required=True)
    listing = verbs.add_parser("list", help="every row")
    add_json(listing)
    listing.set_defaults(run=run_list)
    one = verbs.add_parser("show", help="one row, whole", epilog="example: sextant facts show h200")
    one.add_argument("name", metavar="NAME")
    add_json(one)
    one.set_defaults(run=run_show)


def run_list(args: argparse.Namespace) -> int:
    """Prints a line for each row."""
    facts = load_facts()
    if args.json:
        machines = {name: asdict(machine) for name, machine in facts.machines.items()}
        print_json({"machines": machines, "rows": {n: asdict(r) for n, r in facts.rows.items()}})
        return 0
    width = max(len(name) for name in (*facts.machines, *facts.rows))
    for name, machine in facts.machines.items():
        print(f"{name:<{width}}  {machine.title}  ({machine.date})")
    print()
    for name, row in facts.rows.items():
        print(f"{name:<{width}}  {show(row.value, row.unit):>12}  {row.title}  ({row.date})")
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Prints one row with its source."""
    facts = load_facts()
    row: Machine | Fact
    if args.name in facts.rows:
        row = facts.rows[args.name]
    else:
        try:
            row = facts.machine(args.name)
        except InputError:
            aliases = [alias for machine in facts.machines.values() for alias in machine.aliases]
            names = [*facts.machines, *aliases, *facts.rows]
            close = difflib.get_close_matches(args.name, names, 1, cutoff=0.4)
            hint = f"did you mean {close[0]!r}?" if close else "`sextant facts list` has them all"
            raise InputError(f"no such fact: {args.name[:80]!r}", hint=hint) from None
    values = asdict(row)
    if args.json:
        print_json(values)
        return 0
    width = max(len(key) for key in values)
    for key, value in values.items():
        if value not in ("", (), {}):
            print(f"{key:<{width}}  {_text(key, value)}")
    return 0


def _text(key: str, value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(key, number)}" for name, number in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if not isinstance(value, float):
        return str(value)
    for ending, unit in (
        ("bytes_per_s", "B/s"),
        ("flops_per_s", "FLOP/s"),
        ("_bytes", "B"),
        ("usd_per_hour", "USD"),
    ):
        if key.endswith(ending):
            return show(value, unit)
    return f"{value:g}"
