"""The four questions as blocks of the page: what it does, the ceilings, the axes, the number."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sextant.plan.quantity import Ceiling, Plan
from sextant.sights.figure import COMPACT, map_inline
from sextant.sights.map_row import MapRow
from sextant.sights.markup import Html, div, join, place, span, tag
from sextant.sights.onepage import words
from sextant.sights.scales import LogScale, ratio_of, ratio_scale
from sextant.sights.scene import clip
from sextant.sights.sheet import Block, Flow
from sextant.units import show_ratio


def header(plan: Plan, title: str, kind: str) -> Block:
    """The title, what the system does, and the one number to remember."""
    does = words.sentence(plan.does)
    left = div(
        "lede",
        tag("h1", clip(title, 48)),
        tag("p", clip(does, 240), class_="does", title=words.DOES),
    )
    right = div(
        "striking",
        tag("h2", words.NUMBER),
        tag("p", clip(plan.striking.number, 40), class_=_number_class(plan.striking.number)),
        tag("p", clip(plan.striking.because, 260), class_="because"),
    )
    top = div("mast", span("brand", "Sextant"), span("kind", kind))
    # The two sides stand beside each other: the taller counts.
    number = Flow(length=min(260, len(plan.striking.because)), share=0.40, rem=0.92)
    lede = Flow(length=min(240, len(does)), share=0.53, rem=1.25)
    taller = (number, 5.6) if number.length * 0.92 / 0.40 > does_length(lede) else (lede, 4.6)
    return Block(
        html=join(top, div("opening", left, right)), flows=(taller[0],), rem=taller[1] + 3.6
    )


def does_length(flow: Flow) -> float:
    """How much room a text asks for, to compare it with its neighbour's."""
    return flow.length * flow.rem / flow.share


def _number_class(number: str) -> str:
    length = len(number)
    return "number" if length <= 11 else "number long" if length <= 25 else "number longest"


def forces(plan: Plan) -> Block:
    """The ceilings as bars on a logarithmic scale, those that bind first."""
    ceilings = (*plan.ceilings, *plan.headroom)
    scale = ratio_scale([ratio_of(c) for c in ceilings])
    rows = [_force(c, scale, worst=index == 0) for index, c in enumerate(plan.ceilings)]
    if not rows:
        rows = [tag("p", words.NOTHING_BINDS, class_="plain")]
    rows += [_force(c, scale, worst=False) for c in plan.headroom]
    flows = [Flow(length=min(200, len(c.because)), rem=0.84) for c in ceilings]
    return Block(
        html=section(words.FORCES, *rows, _axis(scale) if ceilings else None, class_="forces"),
        flows=tuple(flows),
        rem=4.7 + 1.95 * len(ceilings) + (0 if plan.ceilings else 1.6),
    )


def _force(ceiling: Ceiling, scale: LogScale, *, worst: bool) -> Html:
    ratio = ratio_of(ceiling)
    one, here = scale.at(1.0), scale.at(ratio)
    kind = "worst" if worst else "binds" if ratio > 1 else "room"
    bar = tag("i", class_=f"fill {kind}", style=place(min(one, here), abs(here - one)))
    ticks = [tag("i", class_="tick", style=place(scale.at(t))) for t in scale.decades()]
    line = tag("i", class_="one", style=place(one))
    return div(
        f"force {kind}",
        span("name", ceiling.name),
        span("axis", f"{ceiling.axis}"),
        div("track", *ticks, bar, line),
        span("ratio", show_ratio(ratio)),
        span("because", clip(ceiling.because, 200)),
    )


def _axis(scale: LogScale) -> Html:
    reach = max(1, math.ceil(math.log10(scale.high / scale.low) / 4.0))
    decades = [t for t in scale.decades() if t != 1.0 and round(math.log10(t)) % reach == 0]
    labels = [span("label", _decade(t), style=place(scale.at(t))) for t in decades]
    one = span("label strong", "one machine", style=place(scale.at(1.0)))
    return div("force scale", span("name"), span("axis"), div("track", *labels, one))


def _decade(value: float) -> str:
    return f"{value:,.0f}x" if 1 <= value < 1e5 else f"{value:g}x"


def order(plan: Plan) -> Block:
    """The axes in the order to spread them, each with its reason and its cost."""
    items = [
        tag(
            "li",
            span("axis", str(step.axis)),
            span("because", clip(words.sentence(step.because), 220)),
            span("cost", clip(words.sentence(step.cost), 160)) if step.cost else None,
        )
        for step in plan.order
    ]
    body = tag("ol", *items) if items else tag("p", "None: it stays whole.", class_="plain")
    flows: list[Flow] = []
    for step in plan.order:
        length = min(220, len(step.because)) + min(160, len(step.cost)) + 4
        flows.append(Flow(length=length, share=0.74, rem=0.9))
    return Block(
        html=section(words.ORDER, body, class_="order"),
        flows=tuple(flows),
        rem=2.7 + 0.45 * len(plan.order) + (0 if plan.order else 1.4),
    )


def map_block(plan: Plan, rows: Sequence[MapRow], title: str | None = None) -> Block:
    """The small map with this system on it, and the known system that it resembles."""
    shown, title = words.placed(plan, rows, title)
    nearest = words.nearest_words(plan, rows)
    height = COMPACT.head + COMPACT.row * len(shown) + COMPACT.foot
    body = (
        div("map", Html(map_inline(shown, title))),
        tag("p", nearest, class_="caption"),
    )
    return Block(
        html=section("Where is it on the map?", *body, class_="place"),
        flows=(Flow(length=len(nearest), rem=0.92),),
        rem=2.9,
        figure=(MAP_REM, height / COMPACT.width),
    )


MAP_REM = 40.0
"""The largest width of the small map; the style sheet has the same figure."""


def hardest(plan: Plan) -> Block:
    """The part that will be hard, and why."""
    what, because = clip(words.sentence(plan.hardest.what), 160), clip(plan.hardest.because, 320)
    body = (
        tag("p", what, span("chip", str(plan.hardest.axis)), class_="what"),
        tag("p", words.sentence(because), class_="because"),
    )
    return Block(
        html=section("The hardest part", *body, class_="hardest"),
        flows=(Flow(length=len(what) + 14, rem=1.12), Flow(length=len(because), rem=0.92)),
        rem=2.9,
    )


def section(
    title: str, *body: str | None, class_: str, aside: str | None = None, alarm: bool = False
) -> Html:
    """A section under its heading, with a remark at the right of the heading if given."""
    remark = span("aside alarm" if alarm else "aside", aside) if aside else None
    heading = tag("h2", title, remark)
    return tag("section", heading, *body, class_=class_)
