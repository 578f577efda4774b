"""The quantities of a plan as a table: value, interval, arithmetic, and numbered sources."""

from __future__ import annotations

from collections.abc import Sequence

from sextant.plan.quantity import Plan, Quantity
from sextant.sights.markup import Html, breakable, join, span, tag
from sextant.sights.onepage import words
from sextant.sights.onepage.answers import section
from sextant.sights.scene import clip
from sextant.sights.sheet import Block, Flow

BECAUSE_LENGTH = 190
SOURCE_LENGTH = 150


KEPT = frozenset(
    {
        "index_raw_bytes", "index_bytes", "table_bytes", "tables_total_bytes", "num_shards",
        "cost_usd_per_month", "cost_usd", "query_p99_s", "memory_bytes_per_gpu", "step_s", "days",
        "mtbf_s", "goodput", "control_budget_left_s", "bytes_per_round",
    }
)  # fmt: skip
"""The quantities that leave the paper last."""


def numbers_block(plan: Plan, num_printed: int) -> Block:
    """All quantities; only `num_printed` of them are on paper, the others on a screen alone."""
    quantities = tuple(plan.quantities.values())
    ranked = sorted(quantities, key=lambda q: q.name not in KEPT)
    on_paper = {q.name for q in ranked[:num_printed]}
    printed = [q for q in quantities if q.name in on_paper]
    sources = _sources(quantities)
    rows = [_row(q, sources, on_paper=q.name in on_paper) for q in quantities]
    hidden = len(quantities) - len(printed)
    more = f"{hidden} more: sextant explain SPEC QUANTITY" if hidden else None
    heading = tag(
        "tr",
        tag("th", "quantity"),
        tag("th", "value", class_="value"),
        tag("th", "80% interval"),
        tag("th", "because"),
    )
    table = tag("table", tag("thead", heading), tag("tbody", *rows))
    flows = [
        Flow(length=_because_length(q) + 2, share=0.585, rem=0.9, leading=1.2) for q in printed
    ]
    notes = sum(min(SOURCE_LENGTH, len(source)) + 7 for source in sources)
    return Block(
        html=section(
            "The numbers, with their arithmetic",
            table,
            tag("p", more, class_="more") if more else None,
            _source_list(sources),
            class_="numbers",
        ),
        flows=(*flows, Flow(length=notes, rem=0.84)),
        rem=4.6 + 0.2 * len(printed) + (1.3 if more else 0),
    )


def _because_length(quantity: Quantity) -> int:
    """The longer of the arithmetic and the name, in characters of the arithmetic's column."""
    return max(min(BECAUSE_LENGTH, len(quantity.because)), round(len(quantity.name) * 2.4) - 6)


def _sources(quantities: Sequence[Quantity]) -> dict[str, int]:
    """Every source once, numbered in order of appearance."""
    names = dict.fromkeys(q.source for q in quantities if q.source)
    return {name: number for number, name in enumerate(names, 1)}


def _row(quantity: Quantity, sources: dict[str, int], *, on_paper: bool) -> Html:
    note = tag("sup", str(sources[quantity.source])) if quantity.source else None
    return tag(
        "tr",
        tag("th", breakable(quantity.name), scope="row"),
        tag("td", words.value_words(quantity), class_="value"),
        tag("td", words.interval_words(quantity) or span("exact", "exact"), class_="interval"),
        tag("td", clip(quantity.because, BECAUSE_LENGTH), note, class_="because"),
        class_=None if on_paper else "screen-only",
    )


def _source_list(sources: dict[str, int]) -> Html | None:
    if not sources:
        return None
    entries = [
        span("source", tag("sup", str(number)), clip(name, SOURCE_LENGTH))
        for name, number in sources.items()
    ]
    return tag("p", *(join(entry, " ") for entry in entries), class_="sources")
