"""`sextant explain`: the arithmetic, the inputs and the source behind one number."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sextant.cli.plan import plan_for
from sextant.cli.specs import add_json, load_spec, print_json
from sextant.errors import InputError
from sextant.units import show, show_count, show_seconds

if TYPE_CHECKING:
    from sextant.workload import Workload

_TELLING = 16


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
    inputs = named_inputs(load_spec(args.spec), quantity.because)
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
    for name, fact in inputs.items():
        print(f"  input         {name} = {fact['shown']}  ({fact['source']})")
    return 0


def named_inputs(workload: Workload, because: str) -> dict[str, dict[str, Any]]:
    """The facts of the workload whose values the arithmetic names, each with its source.

    Args:
        workload: what the user wrote, defaults filled in.
        because: the arithmetic in words and figures.
    """
    found = {}
    for dotted, value, stated in _facts_of(workload):
        shown = [text for text in _shown(value) if _names(because, text)]
        if shown:
            table = dotted.rpartition(".")[0]
            told = workload.sources.get(dotted) or workload.sources.get(table)
            source = told or ("stated" if stated else "default")
            found[dotted] = {"value": value, "shown": shown[0], "source": source}
    return found


def _facts_of(workload: Workload) -> Iterator[tuple[str, Any, bool]]:
    """Each fact as `table.field`, its value, and whether it was stated."""
    tables = {name: getattr(workload, name) for name in type(workload).model_fields}
    models = tables.pop("model")
    for name, table in (tables | {f"model.{n}": m for n, m in models.items()}).items():
        for field in getattr(type(table), "model_fields", ()):
            value = getattr(table, field)
            if value is not None and not isinstance(value, bool):
                yield f"{name}.{field}", value, field in table.model_fields_set


def _shown(value: Any) -> list[str]:
    """How the arithmetic may have written a value."""
    if not isinstance(value, int | float):
        return [str(value)] if isinstance(value, str) and len(value) > 3 else []
    # A small number stands in too many texts to say where it is from.
    counts = [show_count(value), f"{value:g}"] if value >= _TELLING else []
    return [show_seconds(value), show(value, "B"), show(value, "B/s"), *counts]


def _names(because: str, text: str) -> bool:
    return re.search(rf"(?<![\w.,]){re.escape(text)}(?![\w.])", because) is not None
