"""A rehearsal and a drill for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sextant.sights.onepage.terminal import ACCENT, bullets, grid, heading, lean_cells, plain
from sextant.sights.onepage.words import lean_axes, percent, range_words, three_digits
from sextant.sights.record import Sight
from sextant.sights.rehearsal import Answers, DrillResult, Rehearsal
from sextant.sights.report.drills import STEPS, lost_words, told
from sextant.sights.report.html import scale_words
from sextant.sights.report.sights import ratio_words, verdict
from sextant.sights.scales import LogScale, sight_scale
from sextant.units import show, show_seconds

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

PLOT_WIDTH = 17


def print_rehearsal(rehearsal: Rehearsal, *, console: Console | None = None) -> None:
    """Prints a rehearsal to a console, by default to stdout."""
    from rich.console import Console

    (console or Console()).print(rehearsal_terminal(rehearsal))


def print_drill(drill: DrillResult, *, console: Console | None = None) -> None:
    """Prints a drill to a console, by default to stdout."""
    from rich.console import Console

    (console or Console()).print(drill_terminal(drill))


def rehearsal_terminal(rehearsal: Rehearsal) -> RenderableType:
    """Predicted beside measured, and the lean, as something that a rich console prints."""
    from rich.console import Group

    total = len(rehearsal.sights)
    where = f"at {scale_words(rehearsal.scale)} of the plan's size on {rehearsal.fleet}"
    return Group(
        plain(f"{rehearsal.workload}, rehearsed {where}", "bold"),
        plain(
            f"{rehearsal.num_inside} of {total} measured values lie in the predicted 80% interval"
        ),
        plain(""),
        _sights(rehearsal),
        heading("Where the time goes"),
        _lean(rehearsal),
        *((heading("Notes"), bullets(rehearsal.notes)) if rehearsal.notes else ()),
        plain(""),
        plain(f"record {rehearsal.record}, predictions {rehearsal.plan_sha256[:16]}", "dim"),
    )


def _sights(rehearsal: Rehearsal) -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("quantity", overflow="fold")
    for name in ("predicted", "measured", "ratio"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("predicted 80%", no_wrap=True)
    table.add_column("", no_wrap=True)
    scale = sight_scale([s.ratio for s in rehearsal.sights])
    for sight in rehearsal.sights:
        style = "" if sight.inside else ACCENT
        table.add_row(
            plain(sight.quantity),
            show(three_digits(sight.predicted), sight.unit),
            plain(show(three_digits(sight.measured), sight.unit), "bold"),
            plain(ratio_words(sight), style),
            plain(range_words(sight.low, sight.high, sight.unit) or "exact", "dim"),
            plain(f"{_plot(sight, scale)}{'' if sight.inside else ' ' + verdict(sight)}", style),
        )
    return table


def _plot(sight: Sight, scale: LogScale) -> str:
    """The interval as a rule, the prediction as a bar across it, the measurement as a dot."""

    def at(ratio: float) -> int:
        return round(scale.at(ratio) * (PLOT_WIDTH - 1))

    cells = [" "] * PLOT_WIDTH
    if sight.predicted > 0:
        for index in range(at(sight.low / sight.predicted), at(sight.high / sight.predicted) + 1):
            cells[index] = "─"
    cells[at(1.0)] = "┼" if cells[at(1.0)] == "─" else "│"
    if sight.ratio > 0:
        cells[at(sight.ratio)] = "●" if sight.inside else "○"
    return "".join(cells).rstrip()


def _lean(rehearsal: Rehearsal) -> Table:
    predicted, measured = rehearsal.lean_predicted, rehearsal.lean_measured
    table = grid(num_columns=7, right=(1, 2, 4, 5))
    heads = ("", "busy predicted", "measured", "", "waiting predicted", "measured", "")
    table.add_row(*(plain(name, "dim") for name in heads))
    for axis in lean_axes(predicted, measured):
        row = [str(axis)]
        for part in ("busy", "waiting"):
            told_, bar = lean_cells(getattr(measured, part), axis)
            row += [percent(getattr(predicted, part).get(axis, 0.0)), told_, bar]
        table.add_row(*row)
    return table


def drill_terminal(drill: DrillResult) -> RenderableType:
    """The faults, the recovery, what was lost and what was expected."""
    from rich.console import Group

    faults = grid(num_columns=2)
    for fault in drill.faults:
        fired = (
            "never fired"
            if fault.fired_at_s is None
            else f"fired at {show_seconds(fault.fired_at_s)}"
        )
        faults.add_row(plain(fault.spec, "bold"), fired)
    times = [(name, getattr(drill.recovery, attribute)) for name, attribute in STEPS]
    recovery = "   ".join(f"{n} {show_seconds(s) if s is not None else '–'}" for n, s in times)
    expected = grid(num_columns=4)
    expected.add_row(*(plain(n, "dim") for n in ("expected of it", "expected", "measured", "")))
    for item in drill.expectations:
        mark = plain("held") if item.held else plain("missed", ACCENT)
        expected.add_row(
            plain(item.what), plain(told(item.expected)), plain(told(item.measured)), mark
        )
    return Group(
        plain(
            "the drill held" if drill.held else "the drill did not hold",
            "bold" if drill.held else ACCENT,
        ),
        faults,
        plain(f"recovery: {recovery}"),
        plain(f"lost: {lost_words(drill.lost)}"),
        plain(""),
        expected,
    )


def answers_terminal(answers: Answers) -> RenderableType:
    """A question, its answer, and the passages it stands on."""
    from rich.console import Group

    cited = grid(num_columns=2)
    for number, citation in enumerate(answers.citations, 1):
        where = f" ({citation.doc}:{citation.start}–{citation.end}, {citation.score:.2f})"
        cited.add_row(f"({number})", plain(citation.title + where))
    missing = [plain(f"{m.shard} missing: {m.why}", ACCENT) for m in answers.missing]
    return Group(
        plain(answers.question, "bold"),
        plain(answers.answer),
        cited,
        plain(f"coverage {percent(answers.coverage)}", "dim"),
        *missing,
    )
