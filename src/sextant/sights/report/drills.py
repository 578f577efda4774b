"""A drill as blocks: the timeline with its faults, the four recovery times, what was expected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sextant.sights.markup import Html, div, join, span, tag
from sextant.sights.onepage.answers import section
from sextant.sights.rehearsal import DrillResult, Expectation, Moment, Recovery
from sextant.sights.scene import Anchor, Rect, Scene, Shape, Text, Tone, clip, line
from sextant.sights.scene import Polyline as Path
from sextant.sights.sheet import Block, Flow
from sextant.sights.svg import scene_svg
from sextant.units import show_count, show_seconds

WIDTH, HEIGHT = 520.0, 176.0
_LEFT, _RIGHT, _TOP = 52.0, 508.0, 20.0
_COVERAGE, _LATENCY = (24.0, 70.0), (92.0, 154.0)
MOST_POINTS = 240
MOST_EXPECTATIONS = 8
STEPS = (("detect", "detect_s"), ("restart", "restart_s"), ("warm", "warm_s"), ("full", "full_s"))


def timeline_block(drill: DrillResult) -> Block:
    """What was put in, the coverage and the latency through it, and the recovery times."""
    faults = "; ".join(
        f"{fault.spec}"
        + (
            f" at {show_seconds(fault.fired_at_s)}"
            if fault.fired_at_s is not None
            else ", never fired"
        )
        for fault in drill.faults
    )
    chart = div("timeline", Html(scene_svg(timeline_scene(drill), standalone=False)))
    has_chart = len(drill.timeline) > 1
    return Block(
        html=section(
            "The drill",
            tag("p", clip(faults or "no fault was put in", 140), class_="fault"),
            chart if has_chart else None,
            recovery_steps(drill.recovery),
            class_="drill",
            aside="held" if drill.held else "did not hold",
            alarm=not drill.held,
        ),
        flows=(Flow(length=min(140, len(faults)), rem=0.95),),
        rem=7.0,
        figure=(46.0, HEIGHT / WIDTH if has_chart else 0.0),
    )


def recovery_steps(recovery: Recovery) -> Html:
    """The four times after the fault."""
    steps = []
    for name, attribute in STEPS:
        seconds: float | None = getattr(recovery, attribute)
        told = show_seconds(seconds) if seconds is not None else "–"
        steps.append(div("step", span("name", name), tag("b", told)))
    return div("recovery", *steps)


def expectations_block(drill: DrillResult) -> Block:
    """What the plan expects of the fault beside what was seen, and what was lost."""
    shown = drill.expectations[:MOST_EXPECTATIONS]
    head = tag("tr", *(tag("th", name) for name in ("", "expected", "measured", "")))
    rows = [_expectation(item) for item in shown]
    lost = lost_words(drill.lost)
    more = len(drill.expectations) - len(shown)
    body = join(
        tag("table", tag("thead", head), tag("tbody", *rows)) if rows else None,
        tag("p", f"{more} more in the JSON.", class_="more") if more else None,
        tag("p", tag("b", "Lost: "), lost, class_="lost"),
    )
    flows = [
        Flow(length=max(min(90, len(e.what)), 2 * len(told(e.measured))), share=0.46, rem=0.9)
        for e in shown
    ]
    return Block(
        html=section("What was expected of it", body, class_="expectations"),
        flows=(*flows, Flow(length=len(lost) + 6, rem=0.92)),
        rem=4.9 + 0.3 * len(shown) + (1.2 if more else 0),
    )


def _expectation(item: Expectation) -> Html:
    mark = span("yes", "held") if item.held else span("no", "missed")
    return tag(
        "tr",
        tag("th", clip(item.what, 90), scope="row"),
        tag("td", clip(told(item.expected), 40), class_="soft"),
        tag("td", clip(told(item.measured), 40)),
        tag("td", mark),
    )


def told(value: object) -> str:
    """A value of an expectation or a loss, as a person reads it."""
    match value:
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return show_count(float(f"{value:.3g}")) if value == value else "–"
        case Mapping():
            return ", ".join(f"{key} {told(item)}" for key, item in value.items()) or "nothing"
        case list() | tuple() | set() | frozenset():
            return ", ".join(told(item) for item in value) or "nothing"
        case None:
            return "–"
    return str(value)


def lost_words(lost: Mapping[str, object]) -> str:
    """What was lost, in one line."""
    named = [f"{key.replace('_', ' ')} {told(value)}" for key, value in lost.items()]
    return clip("; ".join(named) or "nothing", 180)


def timeline_scene(drill: DrillResult) -> Scene:
    """Coverage above, latency below, over one axis of time."""
    moments = thinned(drill.timeline)
    end = max([m.t_s for m in moments] + [f.fired_at_s or 0.0 for f in drill.faults] + [1e-3])
    slowest = max([m.latency_s for m in moments] + [drill.deadline_s or 0.0, 1e-6]) * 1.12
    lowest = min([m.coverage for m in moments] + [1.0])
    floor = 0.0 if lowest < 0.5 else 0.5
    upper = _Panel(span=_COVERAGE, end_s=end, bottom=floor, top=1.0)
    lower = _Panel(span=_LATENCY, end_s=end, bottom=0.0, top=slowest)
    coverage = [(upper.x(m.t_s), upper.y(m.coverage)) for m in moments]
    latency = [(lower.x(m.t_s), lower.y(m.latency_s)) for m in moments]
    shapes: list[Shape] = [*_panel("coverage", _COVERAGE, "100%", f"{floor:.0%}")]
    shapes += _panel("latency", _LATENCY, show_seconds(float(f"{slowest:.2g}")), "0")
    if drill.deadline_s is not None:
        shapes += _deadline(drill.deadline_s, lower)
    shapes += _faults(drill, upper)
    if len(moments) > 1:
        shapes.append(Path(points=tuple(_stepped(coverage)), stroke=Tone.INK, stroke_width=1.7))
        shapes.append(Path(points=tuple(latency), stroke=Tone.INK, stroke_width=1.2))
    for share, anchor in ((0.0, Anchor.START), (0.5, Anchor.MIDDLE), (1.0, Anchor.END)):
        words, at = show_seconds(float(f"{end * share:.2g}")), upper.x(end * share)
        shapes.append(Text(x=at, y=168, text=words, size=10, tone=Tone.MUTED, anchor=anchor))
    return Scene(
        width=WIDTH, height=HEIGHT, title="The drill over time",
        desc=f"coverage falls to {lowest:.0%} at its lowest", shapes=tuple(shapes),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class _Panel:
    """A stretch of the drawing with its scales: time across, a value upward."""

    span: tuple[float, float]
    end_s: float
    bottom: float
    top: float

    def x(self, t_s: float) -> float:
        """Where a time lies."""
        return _LEFT + (_RIGHT - _LEFT) * min(1.0, max(0.0, t_s / self.end_s))

    def y(self, value: float) -> float:
        """Where a value lies."""
        share = (value - self.bottom) / (self.top - self.bottom)
        return self.span[1] - (self.span[1] - self.span[0]) * min(1.0, max(0.0, share))


def _deadline(deadline_s: float, panel: _Panel) -> Iterator[Shape]:
    at, words = panel.y(deadline_s), f"deadline {show_seconds(deadline_s)}"
    yield line(_LEFT, at, _RIGHT, at, Tone.ACCENT, 1.0, dashed=True)
    yield Text(x=_RIGHT - 3, y=at - 6, text=words, size=10, tone=Tone.ACCENT, anchor=Anchor.END)


def _panel(name: str, span_: tuple[float, float], top: str, bottom: str) -> Iterator[Shape]:
    yield Rect(
        x=_LEFT, y=span_[0], width=_RIGHT - _LEFT, height=span_[1] - span_[0], fill=Tone.BAND
    )
    for words, y in ((top, span_[0] + 5), (bottom, span_[1] - 5)):
        yield Text(x=_LEFT - 6, y=y, text=words, size=10, tone=Tone.MUTED, anchor=Anchor.END)
    middle = (span_[0] + span_[1]) / 2
    yield Text(x=_LEFT - 6, y=middle, text=name, size=10, tone=Tone.INK, anchor=Anchor.END)


def _faults(drill: DrillResult, panel: _Panel) -> Iterator[Shape]:
    for fault in drill.faults:
        if fault.fired_at_s is None:
            continue
        at = panel.x(fault.fired_at_s)
        yield line(at, _TOP - 4, at, _LATENCY[1], Tone.ACCENT, 1.4)
        late = at > (_LEFT + _RIGHT) / 2
        anchor = Anchor.END if late else Anchor.START
        yield Text(
            x=at + (-5 if late else 5), y=10, text=clip(fault.spec, 40), size=10.5,
            tone=Tone.ACCENT, anchor=anchor, bold=True,
        )  # fmt: skip


def _stepped(points: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Level until the next point, since an answer's coverage holds until the next answer."""
    last: tuple[float, float] | None = None
    for point in points:
        if last is not None:
            yield point[0], last[1]
        yield point
        last = point


def thinned(moments: Sequence[Moment]) -> list[Moment]:
    """At most so many moments: of each stretch of time the worst coverage and latency."""
    ordered = sorted(moments, key=lambda m: m.t_s)
    size = -(-len(ordered) // MOST_POINTS) or 1
    stretches = [ordered[at : at + size] for at in range(0, len(ordered), size)]
    return [
        Moment(
            t_s=stretch[0].t_s,
            coverage=min(m.coverage for m in stretch),
            latency_s=max(m.latency_s for m in stretch),
        )
        for stretch in stretches
    ]
