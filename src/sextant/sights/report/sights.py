"""Predicted beside measured: the table, and in it each interval and measurement as a plot."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sextant.sights.markup import Html, breakable, div, place, span, tag
from sextant.sights.onepage.answers import section
from sextant.sights.onepage.words import range_words, three_digits
from sextant.sights.record import Sight
from sextant.sights.scales import LogScale, sight_scale
from sextant.sights.sheet import Block, Flow
from sextant.units import show, show_ratio

_TICKS = (1 / 16, 1 / 4, 1 / 2, 2.0, 4.0, 16.0)


def sights_block(sights: Sequence[Sight], num_printed: int) -> Block:
    """The sights; those beyond `num_printed` are shown on a screen but not on paper."""
    scale = sight_scale([r for sight in sights for r in _ratios(sight)])
    rows = [_row(sight, scale, on_paper=index < num_printed) for index, sight in enumerate(sights)]
    heads = [tag("th", name, class_=kind) for name, kind in _HEADS]
    head = tag("tr", *heads, tag("th", _labels(scale), class_="plot"))
    hidden = max(0, len(sights) - num_printed)
    more = tag("p", f"{hidden} more in the record.", class_="more") if hidden else None
    printed = sights[:num_printed]
    return Block(
        html=section(
            "Predicted beside measured",
            tag("table", tag("thead", head), tag("tbody", *rows)),
            more,
            class_="sights",
            aside="bar: the predicted 80% interval; dot: measured over predicted",
        ),
        flows=tuple(Flow(length=len(s.quantity), share=0.2, rem=0.92) for s in printed),
        rem=5.0 + 0.42 * len(printed) + (1.2 if hidden else 0.0),
    )


_HEADS = (
    ("quantity", None),
    ("predicted", "value"),
    ("80% interval", None),
    ("measured", "value"),
    ("ratio", "value"),
)


def _ratios(sight: Sight) -> tuple[float, ...]:
    """The ends of the interval and the measurement, over the prediction."""
    if sight.predicted <= 0:
        return (sight.ratio,)
    return (sight.low / sight.predicted, sight.high / sight.predicted, sight.ratio)


def verdict(sight: Sight) -> str:
    """What a reader who sees no colour is told."""
    return "inside" if sight.inside else "outside"


def ratio_words(sight: Sight) -> str:
    """The ratio as a person reads it."""
    return show_ratio(sight.ratio) if math.isfinite(sight.ratio) else "–"


def _row(sight: Sight, scale: LogScale, *, on_paper: bool) -> Html:
    interval = range_words(sight.low, sight.high, sight.unit)
    return tag(
        "tr",
        tag("th", breakable(sight.quantity), scope="row"),
        tag("td", show(three_digits(sight.predicted), sight.unit), class_="value soft"),
        tag("td", interval or span("exact", "exact"), class_="interval"),
        tag("td", show(three_digits(sight.measured), sight.unit), class_="value"),
        tag("td", ratio_words(sight), class_=f"value ratio {verdict(sight)}"),
        tag("td", _plot(sight, scale), class_="plot"),
        class_=None if on_paper else "screen-only",
    )


def _plot(sight: Sight, scale: LogScale) -> Html:
    ticks = [tag("i", class_="tick", style=place(scale.at(t))) for t in _ticks(scale)]
    pieces = [*ticks, tag("i", class_="one", style=place(scale.at(1.0)))]
    if sight.predicted > 0:
        low = scale.at(sight.low / sight.predicted)
        high = scale.at(sight.high / sight.predicted)
        pieces.insert(0, tag("i", class_="interval", style=place(low, max(0.004, high - low))))
    if sight.ratio > 0:
        at = scale.at(sight.ratio)
        where = verdict(sight)
        pieces.append(tag("i", class_=f"dot {where}", style=place(at), title=where))
        if where == "outside":
            side = "left" if at > 0.72 else "right"
            pieces.append(tag("span", "outside", class_=f"flag {side}", style=place(at)))
    return div("track dots", *pieces)


def _labels(scale: LogScale) -> Html:
    labels = [span("label", _tick(t), style=place(scale.at(t))) for t in (*_ticks(scale), 1.0)]
    return div("track labels", *labels)


def _ticks(scale: LogScale) -> tuple[float, ...]:
    return tuple(t for t in _TICKS if scale.low * 1.02 < t < scale.high / 1.02)


def _tick(value: float) -> str:
    return f"{value:g}x" if value >= 1 else f"1/{1 / value:g}"
