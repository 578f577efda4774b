"""The one-page answer in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from sextant.axes import AXES
from sextant.plan.quantity import Plan
from sextant.sights.layouts import FRONT, layouts_of
from sextant.sights.map_row import MapRow
from sextant.sights.onepage import words
from sextant.sights.scales import ratio_of
from sextant.units import show_ratio, show_seconds


def markdown_page(plan: Plan, rows: Sequence[MapRow] = (), *, title: str | None = None) -> str:
    """The plan as Markdown, its parts in the order of the page."""
    name = title or words.title_of(plan, rows)
    lines = [f"# {plain(name)}", "", plain(words.sentence(plan.does)), ""]
    lines += [f"**{plain(plan.striking.number)}**: {plain(plan.striking.because)}.", ""]
    lines += [f"## {words.FORCES}", "", *_forces(plan), ""]
    lines += [f"## {words.ORDER}", "", *_order(plan), ""]
    lines += ["## Where is it on the map?", "", *_map(plan, rows, name), ""]
    lines += ["## The hardest part", "", plain(words.sentence(plan.hardest.what)), ""]
    lines += [f"{plain(words.sentence(plan.hardest.because))} ({plan.hardest.axis})", ""]
    if plan.budget is not None and plan.budget.stages:
        lines += ["## Latency budget: " + plain(plan.budget.what), ""]
        lines += [plain(words.sentence(words.budget_words(plan.budget))), ""]
        stages = [(s.name, str(s.axis), show_seconds(s.seconds)) for s in plan.budget.stages]
        lines += [*table(("stage", "axis", "time"), stages), ""]
    lines += [*_layouts(plan), "## Where the time goes", "", *_lean(plan), ""]
    lines += ["## The numbers, with their arithmetic", "", *_numbers(plan), ""]
    for heading, texts in (("Risks", plan.risks), ("Assumptions", plan.assumptions)):
        if texts:
            lines += [f"## {heading}", "", *(f"- {plain(words.sentence(t))}" for t in texts), ""]
    lines.append(f"Ratios are against one {plain(plan.machine)}; intervals are 80%.")
    return "\n".join(lines) + "\n"


def plain(text: str) -> str:
    """The text on one line, without meaning to Markdown."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", flat)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table's lines; cells are escaped."""
    yield "| " + " | ".join(head) + " |"
    yield "|" + " --- |" * len(head)
    for row in rows:
        yield "| " + " | ".join(plain(cell) for cell in row) + " |"


def _forces(plan: Plan) -> Iterator[str]:
    if not plan.ceilings:
        yield words.NOTHING_BINDS
        yield ""
    ceilings = [(c, "binds") for c in plan.ceilings] + [(c, "holds") for c in plan.headroom]
    if ceilings:
        yield from table(
            ("ceiling", "axis", "ratio", "", "because"),
            [(c.name, str(c.axis), show_ratio(ratio_of(c)), w, c.because) for c, w in ceilings],
        )


def _order(plan: Plan) -> Iterator[str]:
    if not plan.order:
        yield "None: it stays whole."
    for number, step in enumerate(plan.order, 1):
        cost = f" Cost: {plain(step.cost.rstrip('.'))}." if step.cost else ""
        yield f"{number}. **{step.axis}**: {plain(words.sentence(step.because))}{cost}"


def _map(plan: Plan, rows: Sequence[MapRow], name: str) -> Iterator[str]:
    shown, title = words.placed(plan, rows, name)
    yield from table(
        ("system", *AXES, "axes"),
        [
            (
                f"▸ {row.title}" if row.title == title else row.title,
                *words.marks_of(row.coordinates),
                str(len(row.coordinates.spread)),
            )
            for row in shown
        ],
    )
    yield ""
    yield "● spread, ⊘ refused, · whole. " + plain(words.nearest_words(plan, rows))


def _layouts(plan: Plan) -> Iterator[str]:
    found = layouts_of(plan)
    if found is None:
        return
    yield from (f"## {found.heading}", "")
    yield from table(
        ("", "step", "80% interval", "memory a GPU", "80% interval", "layout"),
        [
            (
                role,
                step,
                words.range_words(row.step_low_s, row.step_high_s, "s"),
                memory,
                words.range_words(row.memory_low_bytes, row.memory_high_bytes, "B"),
                layout,
            )
            for row in found.rows
            for role, step, memory, layout in (row.cells,)
        ],
    )
    yield from ("", FRONT, "", plain(found.why_rejected), "")


def _lean(plan: Plan) -> Iterator[str]:
    yield from table(
        ("axis", "busy", "waiting"),
        [
            (
                str(axis),
                words.percent(plan.lean.busy.get(axis, 0.0)),
                words.percent(plan.lean.waiting.get(axis, 0.0)),
            )
            for axis in words.lean_axes(plan.lean)
        ],
    )


def _numbers(plan: Plan) -> Iterator[str]:
    yield from table(
        ("quantity", "value", "80% interval", "because", "source"),
        [
            (q.name, words.value_words(q), words.interval_words(q) or "exact", q.because, q.source)
            for q in plan.quantities.values()
        ],
    )
