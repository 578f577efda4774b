"""The one-page answer as a self-contained HTML page that prints on one sheet."""

from __future__ import annotations

from collections.abc import Sequence

from sextant.plan.quantity import Plan
from sextant.sights.map_row import MapRow
from sextant.sights.markup import div, join, page, span, tag
from sextant.sights.onepage import words
from sextant.sights.onepage.answers import forces, hardest, header, map_block, order, section
from sextant.sights.onepage.bars import budget_block, lean_block
from sextant.sights.onepage.numbers import numbers_block
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

REMARK_LENGTH = 200
MOST_REMARKS = 14
MOST_LISTED = 4


def html_page(plan: Plan, rows: Sequence[MapRow] = (), *, title: str | None = None) -> str:
    """The plan as an HTML file.

    Args:
        plan: what to show.
        rows: the known systems of the map, among which the plan's is placed.
        title: what to call the system; by default its row's title, or its name in words.
    """
    name = title or words.title_of(plan, rows)
    sheet, size_pt = _fitted(plan, rows, name)
    return page(f"{name}: the plan", sheet_html(sheet), size_pt)


def _fitted(plan: Plan, rows: Sequence[MapRow], name: str) -> tuple[list[Row], float]:
    """The sheet and its size of type; the last quantities leave the paper if they must."""
    low, high = 0, len(plan.quantities)
    best: tuple[list[Row], float] | None = None
    while low <= high:  # the most quantities that fit, by bisection
        middle = high if best is None and high == len(plan.quantities) else (low + high) // 2
        sheets = [_sheet(plan, rows, name, middle, split) for split in (0, 1, 2)]
        sizes = [fitting_size_pt(sheet) or 0.0 for sheet in sheets]
        if max(sizes) > 0:
            best, low = (sheets[sizes.index(max(sizes))], max(sizes)), middle + 1
        else:
            high = middle - 1
    return best or (_sheet(plan, rows, name, 0, 0), SMALLEST_PT)


def _sheet(
    plan: Plan, rows: Sequence[MapRow], name: str, num_printed: int, split: int
) -> list[Row]:
    """The sheet; `split` of the two last blocks of the right column stand in the left one."""
    movable = (hardest(plan), lean_block(plan.lean))
    left = Column(share=0.53, blocks=(forces(plan), order(plan), *movable[:split]))
    right = Column(share=0.47, blocks=(map_block(plan, rows, name), *movable[split:]))
    sheet = [whole(header(plan, name, f"Plan on {plan.machine}")), (left, right)]
    if plan.budget is not None and plan.budget.stages:
        sheet.append(whole(budget_block(plan.budget)))
    sheet.append(whole(numbers_block(plan, num_printed)))
    remarks = [
        remarks_block(title, texts)
        for title, texts in (("Risks", plan.risks), ("Assumptions", plan.assumptions))
        if texts
    ]
    if remarks:
        # Assumptions are many: they take the wider side, from where the table's reasons begin.
        shares = (0.4, 0.6) if len(remarks) == 2 else (1.0,)
        sheet.append(
            tuple(Column(share=s, blocks=(b,)) for s, b in zip(shares, remarks, strict=True))
        )
    sheet.append(
        whole(
            footer(
                "1x = what one machine gives; ratios on a logarithmic scale.",
                "Intervals hold the true value four times in five.",
            )
        )
    )
    return sheet


def remarks_block(title: str, texts: Sequence[str]) -> Block:
    """Sentences as a list, or run together if there are many; most are shown, the rest counted."""
    shown = [clip(words.sentence(text), REMARK_LENGTH) for text in texts[:MOST_REMARKS]]
    if len(texts) > MOST_REMARKS:
        shown.append(f"And {len(texts) - MOST_REMARKS} more in the JSON.")
    if len(shown) <= MOST_LISTED:
        body = tag("ul", *(tag("li", text) for text in shown))
        flows = [Flow(length=len(text), share=0.96, rem=0.9) for text in shown]
        rem = 2.9 + 0.25 * len(shown)
    else:
        body = tag("p", *(join(span("remark", text), " ") for text in shown))
        flows = [Flow(length=sum(len(text) + 4 for text in shown), rem=0.9)]
        rem = 2.9
    return Block(html=section(title, body, class_="remarks"), flows=tuple(flows), rem=rem)


def footer(left: str, right: str) -> Block:
    """The line at the foot of the sheet."""
    return Block(html=div("foot", span("", left), span("", right)), rem=2.6)
