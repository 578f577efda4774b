"""`sextant map`: every system on six axes."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sextant.axes import AXES, Axis
from sextant.errors import InputError
from sextant.units import show_ratio

if TYPE_CHECKING:
    from sextant.plan.chart import Pair, Row
    from sextant.workload import Workload

_BOOK_TITLES = {
    "web-scale-rag": "Web-scale RAG",
    "planetary-recommender": "Recommender",
    "foundation-pretraining": "Foundation pretrain",
    "drone-swarm": "Drone swarm",
}


def add_parser(subparsers: Any) -> None:
    """Adds the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "map",
        help="where the known systems, and yours, are on the six axes",
        description="Prints the map: ● spread over machines, ⊘ refused, · whole.",
        epilog="example: sextant map product.toml --pairs --figure map.svg",
    )
    parser.add_argument("specs", nargs="*", metavar="SPEC", help="extra rows: TOML or atlas:NAME")
    parser.add_argument("--only", metavar="NAME,...", help="of the atlas, only these rows")
    parser.add_argument("--machine", metavar="NAME", help="reference machine of the extra rows")
    parser.add_argument("--pairs", action="store_true", help="every pair's overlap and distance")
    parser.add_argument("--figure", metavar="FILE", type=Path, help="draw it (.svg or .png)")
    parser.add_argument("--book", action="store_true", help="the textbook's own table")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints the map, and draws it if asked."""
    if args.figure is not None and args.figure.suffix not in (".svg", ".png"):
        raise InputError("the figure is .svg or .png", where=f"--figure {args.figure}")
    if args.book and (args.specs or args.only is not None or args.json or args.machine):
        hint = "map --book alone prints the textbook's table; --json prints the map's own"
        raise InputError("--book goes with no rows, --json or --machine", where="--book", hint=hint)
    if args.machine and not args.specs:
        hint = "it moves your own rows; the atlas names its reference machines itself"
        raise InputError("a machine for no rows", where="--machine", hint=hint)
    if args.only is not None and not args.only.strip(" ,") and not args.specs:
        raise InputError("no rows are left", where="--only", hint="name some, as web-scale-rag")
    if args.book:
        print(book())
        return 0
    rows = _rows(args.specs, args.only, args.machine)
    if args.figure is not None:
        _draw(rows, args.figure)
    if args.json:
        from sextant.cli.specs import print_json

        print_json(as_json(rows))
    else:
        print(as_text(rows, pairs=args.pairs))
    return 0


def _rows(specs: Sequence[str], only: str | None, machine: str | None) -> list[Row]:
    from sextant.atlas import NAMES
    from sextant.cli.specs import load_atlas, load_spec
    from sextant.facts import load_facts
    from sextant.plan.chart import Row
    from sextant.plan.position import locate

    facts = load_facts()
    names = NAMES if only is None else tuple(part.strip() for part in only.split(",") if part)
    for name in names:
        if name not in NAMES:
            close = difflib.get_close_matches(name, NAMES, 1, cutoff=0.4)
            hint = f"did you mean {close[0]!r}?" if close else "one of " + ", ".join(NAMES)
            raise InputError(f"the atlas has no {name[:80]!r}", where="--only", hint=hint)
    workloads: list[tuple[Workload, str | None]] = [
        (load_atlas(name), None) for name in dict.fromkeys(names)
    ]
    workloads += [(load_spec(spec), machine) for spec in specs]
    rows: dict[str, Row] = {}
    for workload, on in workloads:
        name, again = workload.name, 2
        while name in rows:
            name, again = f"{workload.name} ({again})", again + 1
        title = workload.title or workload.name
        rows[name] = Row(name=name, title=title, position=locate(workload, facts, on))
    return list(rows.values())


def _draw(rows: Sequence[Row], path: Path) -> None:
    from sextant.sights.figure import map_png, map_svg
    from sextant.sights.map_row import MapRow

    shown = [
        MapRow(title=row.title, coordinates=row.coordinates, ceiling=_ceiling(row)) for row in rows
    ]
    try:
        if path.suffix == ".svg":
            path.write_text(map_svg(shown), encoding="utf-8")
        else:
            path.write_bytes(map_png(shown))
    except OSError as error:
        raise InputError(f"cannot write: {error.strerror}", where=f"--figure {path}") from None


def _ceiling(row: Row) -> str:
    binding = row.position.ceilings
    return f"{binding[0].name} {show_ratio(binding[0].ratio)}" if binding else "none"


def as_json(rows: Sequence[Row]) -> dict[str, Any]:
    """The map as `interfaces` has it."""
    from sextant.plan import chart

    pairs = chart.all_pairs(rows)
    return {
        "axes": [axis.value for axis in AXES],
        "systems": {row.name: _system(row) for row in rows},
        "per_axis": {axis.value: n for axis, n in chart.per_axis(rows).items()},
        "pairs": [
            {"a": p.a, "b": p.b, "overlap": p.overlap, "distance": p.distance} for p in pairs
        ],
        "most_similar": [[p.a, p.b] for p in chart.most_similar(pairs)],
        "least_similar": [[p.a, p.b] for p in chart.least_similar(pairs)],
    }


def _system(row: Row) -> dict[str, Any]:
    return {
        "axes": [axis.value for axis in row.coordinates.axes],
        "refused": [axis.value for axis in AXES if axis in row.coordinates.refused],
        "ceiling": row.position.binding,
        "ratio": row.position.ceilings[0].ratio if row.position.ceilings else None,
        "marks": {
            mark.axis.value: {"state": mark.state, "ratio": mark.ratio, "because": mark.because}
            for mark in row.position.marks
        },
    }


def as_text(rows: Sequence[Row], *, pairs: bool) -> str:
    """The table, the counts, and the pairs if asked."""
    from sextant.plan import chart

    lines = [_line("system", [axis.value for axis in AXES], "axes", "binding ceiling")]
    for row in rows:
        cells = [_cell(row, axis) for axis in AXES]
        lines.append(_line(row.title, cells, str(len(row.coordinates.spread)), _ceiling(row)))
    counts = [f"{n}/{len(rows)}" for n in chart.per_axis(rows).values()]
    lines += ["", _line("systems that spread it", counts, "", ""), ""]
    lines.append("● spread over machines   ⊘ refused   · whole")
    if pairs and len(rows) > 1:
        lines += ["", *_pair_lines(chart.all_pairs(rows))]
    return "\n".join(line.rstrip() for line in lines)


def _cell(row: Row, axis: Axis) -> str:
    if axis in row.coordinates.refused:
        return "⊘"
    return "●" if axis in row.coordinates.spread else "·"


def _line(title: str, cells: Sequence[str], axes: str, ceiling: str) -> str:
    title = title if len(title) <= 24 else title[:23] + "…"
    return f"{title:<24}" + "".join(f"{cell:^14}" for cell in cells) + f"{axes:^6}{ceiling}"


def _pair_lines(pairs: Sequence[Pair]) -> list[str]:
    from sextant.plan import chart

    width = max(len(p.a) for p in pairs), max(len(p.b) for p in pairs)

    def line(pair: Pair) -> str:
        return (
            f"{pair.a:<{width[0]}}  {pair.b:<{width[1]}}  "
            f"overlap {pair.overlap}  distance {pair.distance}"
        )

    lines = [line(pair) for pair in pairs]
    lines += ["", "most alike (largest overlap):", *map(line, chart.most_similar(pairs))]
    return [*lines, "", "least alike (smallest overlap):", *map(line, chart.least_similar(pairs))]


def book() -> str:
    """The four systems as the textbook's own script prints them."""
    from sextant.atlas import BOOK
    from sextant.plan import chart

    rows = _rows([], ",".join(BOOK), None)
    heads = ("data", "train", "model", "infer", "coord", "intel")
    lines = [f"{'system':<22}" + "".join(f"{head:>7}" for head in heads) + " axes"]
    for row in rows:
        marks = "".join(f"{int(axis in row.coordinates.spread):>7}" for axis in AXES)
        lines.append(f"{_BOOK_TITLES[row.name]:<22}{marks}{len(row.coordinates.spread):>5}")
    lines += ["", f"per-axis count across the {len(rows)} systems:"]
    lines += [f" {axis.value:<13}: {n}/{len(rows)}" for axis, n in chart.per_axis(rows).items()]
    return "\n".join(lines)
