"""`sextant plan`: the one-page answer."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sextant.cli.specs import add_json, atlas_positions, load_atlas, load_spec, print_json
from sextant.errors import InputError

FIGURES = (".svg", ".png")

if TYPE_CHECKING:
    from sextant.plan.quantity import Plan
    from sextant.sights.map_row import MapRow


def add_parser(subparsers: Any) -> None:
    """Adds the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "plan",
        help="the one-page answer: what binds, what to spread, how big, what will be hard",
        epilog="example: sextant plan product.toml --machine h200 --html plan.html",
    )
    parser.add_argument("spec", metavar="SPEC", help="a TOML file, or atlas:NAME")
    parser.add_argument("--machine", metavar="NAME", help="plan for this machine")
    parser.add_argument("--html", metavar="FILE", type=Path, help="write the page")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="write it as Markdown")
    parser.add_argument(
        "--figure",
        metavar="FILE",
        type=Path,
        help="draw a training job's layouts, time against memory: .svg or .png",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def plan_for(spec: str, machine: str | None = None) -> Plan:
    """Plans what a SPEC names."""
    # Numpy starts a thread a core when it is imported, which takes longer than the plan.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from sextant.facts import load_facts
    from sextant.plan.compose import make_plan

    facts = load_facts()
    return make_plan(load_spec(spec), facts, atlas_positions(facts), machine)


def map_rows(plan: Plan) -> list[MapRow]:
    """The atlas's rows for the little map on the page, below the plan's own if it is new."""
    from sextant.facts import load_facts
    from sextant.sights.map_row import MapRow

    positions = atlas_positions(load_facts())
    rows = [
        MapRow(
            title=load_atlas(name).title or name,
            coordinates=position.coordinates,
            ceiling=position.binding,
        )
        for name, position in positions.items()
    ]
    if plan.workload in positions:
        return rows
    binding = plan.ceilings[0].name if plan.ceilings else "none"
    return [MapRow(title=plan.workload, coordinates=plan.coordinates, ceiling=binding), *rows]


def run(args: argparse.Namespace) -> int:
    """Prints the plan, and writes its page if asked."""
    if args.figure is not None and args.figure.suffix not in FIGURES:
        raise InputError(
            f"no such kind of figure: {args.figure.name[:80]!r}",
            where="--figure",
            hint="name it .svg or .png",
        )
    plan = plan_for(args.spec, args.machine)
    title = load_spec(args.spec).title
    if args.html is not None:
        from sextant.sights.onepage.html import html_page

        write(args.html, html_page(plan, map_rows(plan), title=title), "--html")
    if args.markdown is not None:
        from sextant.sights.onepage.markdown import markdown_page

        write(args.markdown, markdown_page(plan, map_rows(plan), title=title), "--markdown")
    if args.figure is not None:
        draw(args.figure, plan, title)
    if args.json:
        from sextant.sights.as_json import plan_json

        print_json(plan_json(plan))
    elif args.html is None and args.markdown is None and args.figure is None:
        from sextant.sights.onepage.terminal import print_page

        print_page(plan, map_rows(plan), title=title)
    return 0


def draw(path: Path, plan: Plan, title: str | None) -> None:
    """Draws the layouts that a plan of a training job weighed.

    Raises:
        InputError: the plan has none, or the file cannot be written.
    """
    from sextant.sights.layouts import layouts_of
    from sextant.sights.onepage import words
    from sextant.sights.pareto import pareto_png, pareto_svg

    layouts = layouts_of(plan)
    if layouts is None:
        raise InputError(
            "the plan has no layouts of a training job to draw",
            where="--figure",
            hint="a spec with [training] of a transformer has, as atlas:foundation-pretraining",
        )
    name = title or words.title_of(plan)
    try:
        if path.suffix == ".svg":
            path.write_text(pareto_svg(layouts, name), encoding="utf-8")
        else:
            path.write_bytes(pareto_png(layouts, name))
    except OSError as error:
        raise InputError(f"cannot write: {error.strerror}", where=f"--figure {path}") from None


def write(path: Path, text: str, option: str) -> None:
    """Writes a page that the user asked for."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write: {error.strerror}", where=f"{option} {path}") from None
