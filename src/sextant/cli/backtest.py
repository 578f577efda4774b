"""`sextant backtest`: the planner's predictions beside measured runs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sextant.cli.specs import add_json, print_json
from sextant.errors import InputError

if TYPE_CHECKING:
    from sextant.plan.backtest import Report
    from sextant.plan.other_rows import OtherReport

FIGURES = (".svg", ".html", ".png")
ROWS_HINT = "the file holds a JSON list of runs, one object each: docs/backtest-rows.md"
SAID = ("step_s", "step_s_low", "step_s_high", "peak_memory_bytes", "out_of_memory")


def add_parser(subparsers: Any) -> None:
    """Adds the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "backtest",
        help="score the training planner on measured runs",
        description="Predicts each row's step time and memory and scores those that were measured.",
        epilog="example: sextant backtest rows.json --held-out --figure scatter.svg",
    )
    parser.add_argument(
        "rows", type=Path, nargs="+", metavar="ROWS.json", help="lists of runs, or of other figures"
    )
    parser.add_argument("--predictions", type=Path, metavar="FILE", help="write predictions by id")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="a scatter: .svg, .html, .png")
    parser.add_argument(
        "--held-out",
        action="store_true",
        help="predict each source with constants fitted on the other sources",
    )
    parser.add_argument("--constants", type=Path, metavar="FILE", help="as calibrate wrote them")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the accuracy page")
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints the scores; rows that cannot be predicted are listed, never fatal."""
    if args.figure and args.figure.suffix not in FIGURES:
        raise InputError(
            f"no such kind of figure: {args.figure.name!r}",
            where="--figure",
            hint="name it .svg, .html or .png",
        )
    every = [row for path in args.rows for row in read_rows(path)]
    from sextant.facts import load_facts
    from sextant.facts.training import load_training_facts, with_constants
    from sextant.laws.machine import constants_of, spread_of
    from sextant.plan.accuracy import accuracy_page, held_out
    from sextant.plan.backtest import report
    from sextant.plan.other_rows import is_other, score_others
    from sextant.plan.predictions import batch, predict

    rows = [row for row in every if not is_other(row)]
    taken = [str(row["id"]) for row in rows if isinstance(row, dict) and row.get("id")]
    others = score_others([row for row in every if is_other(row)], load_facts(), taken)
    training = load_training_facts()
    if args.constants:
        training = with_constants(training, args.constants)
    asked = batch(rows, load_facts(), training)
    spread = spread_of(training)
    if args.held_out:
        made = held_out(asked, training, spread)
    else:
        made = predict(asked, constants_of(training), spread)
    found = report(asked, made)
    if args.predictions:
        said = {name: {k: row[k] for k in SAID} for name, row in found.predictions.items()}
        said |= {one.id: dict(one.predicted) for one in others.said}
        write(args.predictions, json.dumps(said, indent=1, allow_nan=False))
    if args.figure:
        draw(args.figure, found)
    if args.report:
        names = " ".join(path.name for path in args.rows)
        command = f"sextant backtest {names} --report {args.report.name}"
        page = accuracy_page(asked, training, constants_of(training), spread, command, others)
        write(args.report, page)
    if args.json:
        print_json(others.joined(found.as_json()))
    else:
        show(found, others)
    return 0


def read_rows(path: Path) -> list[Any]:
    """The rows of a file: a JSON list, or an object that holds one under `rows`.

    Raises:
        InputError: it cannot be read, or is no list.
    """
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(_said(error), where=str(path), hint=ROWS_HINT) from None
    except RecursionError:
        raise InputError("not JSON: nested too deeply", where=str(path), hint=ROWS_HINT) from None
    except ValueError as error:
        raise InputError(f"not JSON: {error}", where=str(path), hint=ROWS_HINT) from None
    rows = read.get("rows") if isinstance(read, dict) else read
    if not isinstance(rows, list):
        raise InputError("no list of rows", where=str(path), hint=ROWS_HINT)
    return rows


def _said(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def write(path: Path, content: str | bytes) -> None:
    """Writes a file that the user named.

    Raises:
        InputError: it cannot be written.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        path.write_bytes(data)
    except OSError as error:
        hint = "name a file in a folder that there is"
        raise InputError(_said(error), where=str(path), hint=hint) from None


def draw(path: Path, found: Report) -> None:
    """Writes the scatter in the kind that the file's name asks for."""
    from sextant.plan.backtest_figure import page, png, points_of, svg

    points = points_of(found.rows)
    if path.suffix == ".png":
        write(path, png(points))
    else:
        write(path, page(points) if path.suffix == ".html" else svg(points))


def show(found: Report, others: OtherReport) -> None:
    """Prints the scores as tables, then the rows left out."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from sextant.plan.accuracy import HEAD, cells

    console = Console(width=132, markup=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, name in enumerate(HEAD):
        table.add_column(name, justify="right" if i else "left", no_wrap=i == 0)
    for score in found.cases:
        table.add_row(*cells(score))
    if found.cases:
        console.print(table)
    if others.said:
        figures = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for i, name in enumerate(("other figures", "rows", "figures", "error", "bias")):
            figures.add_column(name, justify="right" if i else "left", no_wrap=i == 0)
        for case, (rows, count, mean, bias) in others.by_case().items():
            figures.add_row(case, str(rows), str(count), f"{mean:.1%}", f"{bias:+.1%}")
        console.print(figures)
    refused = {**found.unpredictable, **others.unpredictable}
    print(f"{len(found.predictions) + len(others.said)} rows predicted, {len(refused)} not")
    for name, why in refused.items():
        print(f"  {name}: {why}")
