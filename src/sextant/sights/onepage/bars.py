"""The stacked bars of the page: the latency budget, and the lean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from sextant.axes import Axis
from sextant.plan.quantity import Budget, Lean, Stage
from sextant.sights.markup import Html, div, place, span, tag
from sextant.sights.onepage import words
from sextant.sights.onepage.answers import section
from sextant.sights.scene import clip
from sextant.sights.sheet import Block, Flow
from sextant.units import show_seconds

MOST_STAGES = 16


def budget_block(budget: Budget) -> Block:
    """The stages in order as one bar against what is allowed; an overrun stands out."""
    stages = _few(budget.stages)
    pieces = [(stage.name, stage.seconds, f"a-{stage.axis}") for stage in stages]
    over = words.budget_total_s(budget) > budget.allowed_s
    return Block(
        html=section(
            clip(f"Latency budget: {budget.what}", 70),
            *stacked(pieces, budget.allowed_s),
            class_="budget",
            aside=words.budget_words(budget),
            alarm=over,
        ),
        flows=(legend_flow([stage.name for stage in stages]),),
        rem=5.2,
    )


def legend_flow(names: Sequence[str]) -> Flow:
    """The room that a legend of stages asks for."""
    return Flow(length=sum(min(44, len(name)) + 13 for name in names), rem=0.9, leading=1.5)


def stacked(pieces: Sequence[tuple[str, float, str]], allowed_s: float) -> tuple[Html, Html]:
    """One bar of (name, seconds, class) against what is allowed, and its legend."""
    total = sum(max(0.0, seconds) for _, seconds, _ in pieces)
    limited = math.isfinite(allowed_s) and allowed_s > 0
    scale = max(total, allowed_s if limited else 0.0) or 1.0
    drawn, at = [], 0.0
    for name, seconds, class_ in pieces:
        share = max(0.0, seconds) / scale
        hint = f"{name}: {show_seconds(seconds)}"
        drawn.append(tag("i", class_=f"piece {class_}", style=place(at, share), title=hint))
        at += share
    if limited:
        edge = allowed_s / scale
        if total > allowed_s:
            drawn.append(tag("i", class_="over", style=place(edge, 1.0 - edge)))
        drawn.append(tag("i", class_="allowed", style=place(edge)))
    legend = [
        span(
            "entry",
            tag("i", class_=f"swatch {class_}"),
            clip(name, 44) + " ",
            tag("b", show_seconds(seconds)),
        )
        for name, seconds, class_ in pieces
    ]
    return div("track stacked", *drawn), div("legend", *legend)


def _few(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """At most so many stages; the shortest are drawn as one, at the end."""
    if len(stages) <= MOST_STAGES:
        return stages
    longest = sorted(stages, key=lambda s: s.seconds, reverse=True)[: MOST_STAGES - 1]
    kept = [stage for stage in stages if stage in longest]
    rest = sum(stage.seconds for stage in stages if stage not in longest)
    name = f"{len(stages) - len(kept)} shorter stages"
    return (*kept, Stage(name=name, axis=Axis.COORDINATION, seconds=rest))


def lean_block(lean: Lean) -> Block:
    """Where the busy time goes and where the waiting time goes, by axis."""
    named = (("busy", "busy", lean), ("waiting", "waiting", lean))
    return lean_rows("Where the time goes", named, (lean,))


def lean_rows(
    title: str, named: tuple[tuple[str, str, Lean], ...], leans: tuple[Lean, ...]
) -> Block:
    """One thin stacked bar for each (words, `busy` or `waiting`, lean), and one legend."""
    bars = [_lean_bar(name, getattr(lean, part)) for name, part, lean in named]
    entries = [
        span("entry", tag("i", class_=f"swatch a-{axis}"), str(axis))
        for axis in words.lean_axes(*leans)
    ]
    return Block(
        html=section(title, *bars, div("legend", *entries), class_="lean"),
        flows=(Flow(length=18 * len(entries), rem=0.9, leading=1.5),),
        rem=3.2 + 1.75 * len(bars),
    )


def _lean_bar(name: str, shares: Mapping[Axis, float]) -> Html:
    pieces, at = [], 0.0
    for axis in Axis:
        share = shares.get(axis, 0.0)
        if share <= 0:
            continue
        hint = f"{axis} {words.percent(share)}"
        # A label is written only where it has room.
        label = words.percent(share) if share >= 0.09 else None
        style = place(at, min(share, 1.0 - at))
        pieces.append(tag("i", label, class_=f"piece a-{axis}", style=style, title=hint))
        at = min(1.0, at + share)
    none = None if pieces else span("none", "none")
    return div("bar", span("name", name), div("track stacked thin", *pieces, none))
