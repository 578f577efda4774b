"""The one-page answer for a terminal; it reads as well through a pipe, without colour."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from sextant.axes import Axis
from sextant.plan.quantity import Ceiling, Plan
from sextant.sights.layouts import FRONT, layouts_of
from sextant.sights.map_row import SHORT, MapRow
from sextant.sights.onepage import words
from sextant.sights.scales import LogScale, ratio_of, ratio_scale
from sextant.units import show_ratio, show_seconds

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

ACCENT = "bold dark_orange3"
BAR_WIDTH = 26
MOST_LAYOUTS = 7
BLOCKS = " ▏▎▍▌▋▊▉█"


def print_page(
    plan: Plan,
    rows: Sequence[MapRow] = (),
    *,
    title: str | None = None,
    console: Console | None = None,
) -> None:
    """Prints the plan to a console, by default to stdout."""
    from rich.console import Console

    (console or Console()).print(terminal_page(plan, rows, title=title))


def terminal_page(
    plan: Plan, rows: Sequence[MapRow] = (), *, title: str | None = None
) -> RenderableType:
    """The plan as something that a rich console prints."""
    from rich.console import Group

    name = title or words.title_of(plan, rows)
    binds = plan.ceilings or plan.headroom
    parts: list[RenderableType] = [
        plain(name, "bold"),
        plain(f"{words.sentence(plan.does)} (on {plan.machine})"),
        plain(""),
        plain(plan.striking.number, ACCENT) + plain(f"  {plan.striking.because}"),
        heading(words.FORCES),
        _forces(plan) if binds else plain(words.NOTHING_BINDS),
        heading(words.ORDER),
        _order(plan) if plan.order else plain("None: it stays whole."),
        heading("Where is it on the map?"),
        _map(plan, rows, name),
        plain(words.nearest_words(plan, rows)),
        heading("The hardest part"),
        plain(words.sentence(plan.hardest.what), "bold") + plain(f" ({plan.hardest.axis})"),
        plain(words.sentence(plan.hardest.because)),
    ]
    if plan.budget is not None and plan.budget.stages:
        parts += [heading(f"Latency budget: {plan.budget.what}"), *_budget(plan)]
    parts += [*_layouts(plan), heading("Where the time goes"), _lean(plan)]
    parts += [heading("The numbers, with their arithmetic"), _numbers(plan)]
    for title_, texts in (("Risks", plan.risks), ("Assumptions", plan.assumptions)):
        if texts:
            parts += [heading(title_), bullets(texts)]
    return Group(*parts)


def heading(title: str) -> Padding:
    """A heading after an empty line."""
    from rich.padding import Padding

    return Padding(plain(title, "bold underline"), (1, 0, 0, 0), expand=False)


def grid(*, num_columns: int, right: Sequence[int] = ()) -> Table:
    """A table without lines; the columns in `right` are set to the right and never wrap."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2, 0, 0))
    for index in range(num_columns):
        if index in right:
            table.add_column(justify="right", no_wrap=True)
        else:
            table.add_column()
    return table


def bullets(texts: Sequence[str]) -> Table:
    """Sentences as a list."""
    table = grid(num_columns=2)
    for text in texts:
        table.add_row("-", plain(words.sentence(text)))
    return table


def plain(text: str, style: str = "") -> Text:
    """Text that is printed as it is, whatever brackets it holds."""
    from rich.text import Text

    return Text("".join(c if c.isprintable() else " " for c in text), style=style)


def bar(share: float, width: int = BAR_WIDTH) -> str:
    """A bar of eighths of a character."""
    eighths = round(min(1.0, max(0.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    return "█" * full + (BLOCKS[rest] if rest else "")


def _forces(plan: Plan) -> RenderableType:
    ceilings = (*plan.ceilings, *plan.headroom)
    scale = ratio_scale([ratio_of(c) for c in ceilings])
    rows = []
    for index, ceiling in enumerate(ceilings):
        worst = index == 0 and bool(plan.ceilings)
        style = ACCENT if worst else "" if index < len(plan.ceilings) else "dim"
        cells = (ceiling.name, _diverging(ceiling, scale), show_ratio(ratio_of(ceiling)))
        rows.append((*(plain(cell, style) for cell in cells), plain(ceiling.because, "dim")))
    return _Wide(rows, (2,))


def _diverging(ceiling: Ceiling, scale: LogScale) -> str:
    """A bar from the mark of one machine: to the right if it binds, to the left if not."""
    width = 18
    one = min(width - 2, max(1, round(scale.at(1.0) * width)))
    here = round(scale.at(ratio_of(ceiling)) * width)
    if ratio_of(ceiling) > 1:
        return " " * one + "│" + "█" * max(1, min(width, here) - one)
    return " " * min(here, one - 1) + "░" * max(1, one - here) + "│"


def _order(plan: Plan) -> Table:
    table = grid(num_columns=3)
    for number, step in enumerate(plan.order, 1):
        cost = f" Cost: {step.cost.rstrip('.')}." if step.cost else ""
        table.add_row(
            str(number), plain(step.axis, "bold"), plain(words.sentence(step.because) + cost)
        )
    return table


def _map(plan: Plan, rows: Sequence[MapRow], name: str) -> Table:
    from rich.table import Table

    shown, mine = words.placed(plan, rows, name)
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    table.add_column("")
    for axis in Axis:
        table.add_column(SHORT[axis], justify="center")
    table.add_column("axes", justify="right")
    for row in shown:
        here = row.title == mine
        title = plain(("▸ " if here else "  ") + row.title, "bold" if here else "")
        title.truncate(28, overflow="ellipsis")
        marks = [
            plain(m, ACCENT if here and m == "●" else "") for m in words.marks_of(row.coordinates)
        ]
        table.add_row(title, *marks, str(len(row.coordinates.spread)))
    return table


def _budget(plan: Plan) -> Iterator[RenderableType]:
    budget = plan.budget
    if budget is None:
        return
    total = words.budget_total_s(budget)
    scale = max(total, budget.allowed_s if math.isfinite(budget.allowed_s) else 0.0) or 1.0
    table, at = grid(num_columns=3, right=(1,)), 0.0
    for stage in budget.stages:
        offset = round(at / scale * BAR_WIDTH)
        drawn = " " * offset + (bar(stage.seconds / scale) or "▏")
        over = at + stage.seconds > budget.allowed_s
        style = ACCENT if over else ""
        table.add_row(plain(stage.name, style), show_seconds(stage.seconds), plain(drawn, style))
        at += stage.seconds
    yield table
    yield plain(words.budget_words(budget), ACCENT if total > budget.allowed_s else "")


def _layouts(plan: Plan) -> Iterator[RenderableType]:
    found = layouts_of(plan)
    if found is None:
        return
    yield heading(found.heading)
    table = grid(num_columns=4, right=(1, 2))
    table.columns[0].no_wrap = True
    for row in found.shown(MOST_LAYOUTS):
        role, *cells = row.cells
        table.add_row(plain(role, ACCENT if row.role == "best" else ""), *map(plain, cells))
    yield table
    more = len(found.rows) - MOST_LAYOUTS
    yield plain(FRONT + (f" {more} more with --markdown." if more > 0 else ""), "dim")
    yield plain(found.why_rejected)


def _lean(plan: Plan) -> Table:
    table = grid(num_columns=5, right=(1, 3))
    table.add_row("", "", plain("busy", "dim"), "", plain("waiting", "dim"))
    for axis in words.lean_axes(plan.lean):
        table.add_row(
            str(axis), *lean_cells(plan.lean.busy, axis), *lean_cells(plan.lean.waiting, axis)
        )
    return table


def lean_cells(shares: Mapping[Axis, float], axis: Axis) -> tuple[str, str]:
    """A share as a percentage and a short bar."""
    share = shares.get(axis, 0.0)
    return words.percent(share), bar(share, 14)


class _Wide:
    """A table whose last column moves under the others where the terminal is narrow."""

    def __init__(self, rows: Sequence[tuple[Text, ...]], right: Sequence[int]) -> None:
        self._rows = rows
        self._right = right

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        if options.max_width >= 116:
            table = grid(num_columns=len(self._rows[0]), right=self._right)
            for row in self._rows:
                table.add_row(*row)
            yield table
            return
        from rich.padding import Padding

        widths = [max(cell.cell_len for cell in column) for column in zip(*self._rows, strict=True)]
        for row in self._rows:
            first = plain("")
            for index, cell in enumerate(row[:-1]):
                gap = plain(" " * (widths[index] - cell.cell_len))
                first = first + (gap + cell if index in self._right else cell + gap) + plain("  ")
            first.rstrip()
            yield first
            yield Padding(row[-1], (0, 0, 0, 2), expand=False)


def _numbers(plan: Plan) -> RenderableType:
    rows = [
        (
            plain(q.name),
            plain(words.value_words(q), "bold"),
            plain(words.interval_words(q), "dim"),
            plain(q.because, "dim"),
        )
        for q in plan.quantities.values()
    ]
    return _Wide(rows, (1,)) if rows else plain("None.")
