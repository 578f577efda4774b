"""The report of a rehearsal: a self-contained page that prints on one sheet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sextant.plan.quantity import Plan
from sextant.sights.map_row import MapRow
from sextant.sights.markup import div, join, page, span, tag
from sextant.sights.onepage import words
from sextant.sights.onepage.answers import forces, hardest, map_block
from sextant.sights.onepage.bars import lean_rows
from sextant.sights.onepage.html import footer, remarks_block
from sextant.sights.rehearsal import Answers, DrillResult, Rehearsal
from sextant.sights.report.drills import expectations_block, timeline_block
from sextant.sights.report.questions import question_block
from sextant.sights.report.sights import sights_block
from sextant.sights.scene import clip
from sextant.sights.sheet import (
    SMALLEST_PT,
    Block,
    Column,
    Flow,
    Row,
    fitting_size_pt,
    sheet_html,
    whole,
)
from sextant.units import show_ratio


def report_page(
    plan: Plan,
    rehearsal: Rehearsal,
    *,
    rows: Sequence[MapRow] = (),
    drill: DrillResult | None = None,
    answers: Sequence[Answers] = (),
    title: str | None = None,
) -> str:
    """The report as an HTML file.

    Args:
        plan: the plan that was rehearsed.
        rehearsal: what was run, and what was seen.
        rows: the known systems of the map.
        drill: what became of the faults that were put in.
        answers: questions that the rehearsed system answered; the first three are shown.
        title: what to call the system; by default as on the plan's page.
    """
    name = title or words.title_of(plan, rows)
    sheet, size_pt = _fitted(plan, rehearsal, rows, drill, answers, name)
    return page(f"{name}: the rehearsal", sheet_html(sheet), size_pt)


def _fitted(
    plan: Plan,
    rehearsal: Rehearsal,
    rows: Sequence[MapRow],
    drill: DrillResult | None,
    answers: Sequence[Answers],
    name: str,
) -> tuple[list[Row], float]:
    """The richest sheet that fits at a good size of type, else the sparest at any."""
    sheet: list[Row] = []
    for richness, (num_answers, least_pt) in _RICHNESS.items():
        asked = _most_telling(answers, num_answers)
        sheet = list(_sheet(plan, rehearsal, rows, drill, asked, name, richness))
        size_pt = fitting_size_pt(sheet)
        if size_pt is not None and size_pt >= least_pt:
            return sheet, size_pt
    return sheet, SMALLEST_PT


_RICHNESS = {3: (3, 6.0), 2: (3, SMALLEST_PT), 1: (2, SMALLEST_PT), 0: (1, SMALLEST_PT)}
"""For each richness of a sheet how many answers it holds, and the least size of its type."""


def _most_telling(answers: Sequence[Answers], number: int) -> list[Answers]:
    """So many of the answers, in their order; what a missing shard cost is told first."""
    chosen = sorted(answers, key=lambda a: a.coverage)[:number]
    return [answer for answer in answers if answer in chosen][:number]


def _sheet(
    plan: Plan,
    rehearsal: Rehearsal,
    rows: Sequence[MapRow],
    drill: DrillResult | None,
    answers: Sequence[Answers],
    name: str,
    richness: int,
) -> Iterator[Row]:
    """Row by row: 3 with the map, 2 without, 1 without the ceilings, 0 with fewer sights."""
    yield whole(header(plan, rehearsal, name))
    yield whole(sights_block(rehearsal.sights, 12 if richness == 0 else 40))
    lean = lean_compared(rehearsal)
    left: tuple[Block, ...] = (forces(plan),) if richness > 1 else (hardest(plan),)
    right = (lean, hardest(plan)) if richness > 1 else (lean,)
    if richness > 2:
        left, right = (forces(plan), lean), (map_block(plan, rows, name), hardest(plan))
    yield Column(share=0.53, blocks=left), Column(share=0.47, blocks=right)
    if drill is not None:
        yield (
            Column(share=0.53, blocks=(timeline_block(drill),)),
            Column(share=0.47, blocks=(expectations_block(drill),)),
        )
    for at in range(0, len(answers), 2):
        yield _pair([question_block(one, 2) for one in answers[at : at + 2]])
    if rehearsal.notes:
        yield whole(remarks_block("Notes", rehearsal.notes))
    record = f"Record {clip(rehearsal.record, 70)}; predictions {rehearsal.plan_sha256[:16]}."
    told = "Predictions and their hash were written before the run; ratio = measured / predicted."
    yield whole(footer(told, record))


def _pair(blocks: Sequence[Block]) -> Row:
    shares = (0.53, 0.47) if len(blocks) == 2 else (1.0,)
    return tuple(Column(share=s, blocks=(b,)) for s, b in zip(shares, blocks, strict=True))


def header(plan: Plan, rehearsal: Rehearsal, name: str) -> Block:
    """What was run, how large, on what, and how many of the predictions held."""
    total = len(rehearsal.sights)
    does = f"Rehearsed at {scale_words(rehearsal.scale)} of the plan's size on {rehearsal.fleet}."
    outside = [s.quantity for s in rehearsal.sights if not s.inside]
    because = "measured values lie in the 80% interval that was predicted before the run"
    if outside:
        because += "; outside: " + ", ".join(outside[:4]) + ("…" if len(outside) > 4 else "")
    left = div("lede", tag("h1", clip(name, 48)), tag("p", clip(does, 200), class_="does"))
    number = tag("p", f"{rehearsal.num_inside} of {total}", class_="number")
    right = div(
        "striking",
        tag("h2", "Predictions that held"),
        number,
        tag("p", clip(because, 220), class_="because"),
    )
    mast = div("mast", span("brand", "Sextant"), span("kind", f"Rehearsal of {plan.workload}"))
    return Block(
        html=join(mast, div("opening", left, right)),
        flows=(Flow(length=max(min(220, len(because)), len(does)), share=0.44, rem=0.95),),
        rem=9.4,
    )


def scale_words(scale: float) -> str:
    """`1/10,000` for a small share; the whole is `the whole`."""
    if scale >= 1:
        return "the whole" if scale == 1 else show_ratio(scale)
    return f"1/{float(f'{1 / scale:.3g}'):,.0f}" if scale > 0 else "none"


def lean_compared(rehearsal: Rehearsal) -> Block:
    """The lean as it was predicted and as it was measured, busy and waiting."""
    predicted, measured = rehearsal.lean_predicted, rehearsal.lean_measured
    return lean_rows(
        "Where the time goes",
        (
            ("busy: predicted", "busy", predicted),
            ("measured", "busy", measured),
            ("waiting: predicted", "waiting", predicted),
            ("measured", "waiting", measured),
        ),
        (predicted, measured),
    )
