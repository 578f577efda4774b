"""`sextant explain`: the arithmetic, the inputs and the source behind one number."""

from __future__ import annotations

import argparse
import difflib
from typing import Any

from sextant.cli.plan import plan_for
from sextant.cli.specs import add_json, load_spec, print_json
from sextant.errors import InputError
from sextant.units import show


def add_parser(subparsers: Any) -> None:
    """Adds the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "explain",
        help="where one number of a plan comes from",
        epilog="example: sextant explain atlas:web-scale-rag index_raw_bytes",
    )
    parser.add_argument("spec", metavar="SPEC", help="a TOML file, or atlas:NAME")
    parser.add_argument("quantity", metavar="QUANTITY", help="its name, as in plan --json")
    parser.add_argument("--machine", metavar="NAME", help="plan for this machine")
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints one quantity with all that stands behind it."""
    plan = plan_for(args.spec, args.machine)
    quantity = plan.quantities.get(args.quantity)
    if quantity is None:
        close = difflib.get_close_matches(args.quantity, plan.quantities, 3, cutoff=0.3)
        names = ", ".join(close or plan.quantities)
        raise InputError(f"the plan has no {args.quantity[:80]!r}", hint=f"it has {names}")
    inputs = load_spec(args.spec).sources
    if args.json:
        from sextant.sights.as_json import quantity_json

        print_json({"name": quantity.name, **quantity_json(quantity), "inputs": inputs})
        return 0
    unit = quantity.unit
    print(f"{quantity.name} = {show(quantity.value, unit)}")
    if quantity.low != quantity.high:
        print(f"  80% interval  {show(quantity.low, unit)} to {show(quantity.high, unit)}")
    print(f"  arithmetic    {quantity.because}")
    print(f"  source        {quantity.source}")
    for name, source in inputs.items():
        print(f"  fact          {name}: {source}")
    return 0
