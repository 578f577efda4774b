"""The figure of layouts: step time against memory, and the front that nothing beats in both."""

from __future__ import annotations

import math
from collections.abc import Iterator

from sextant.sights.layouts import LayoutRow, Layouts
from sextant.sights.png import scene_png
from sextant.sights.scales import LogScale
from sextant.sights.scene import Anchor, Circle, Polyline, Scene, Shape, Text, Tone, clip, line
from sextant.sights.svg import scene_svg
from sextant.units import show, show_seconds

WIDTH, HEIGHT = 760.0, 480.0
LEFT, RIGHT, TOP, BOTTOM = 84.0, 40.0, 76.0, 62.0
ROOM = 1.15
"""How far the axes go beyond the outermost interval."""
LABEL_LENGTH = 84
MARK, LEGEND = 8.5, 19.0
FEWEST_TICKS = 3


def pareto_svg(layouts: Layouts, title: str) -> str:
    """The figure as an SVG file."""
    return scene_svg(pareto_scene(layouts, title))


def pareto_png(layouts: Layouts, title: str) -> bytes:
    """The figure as a PNG file."""
    return scene_png(pareto_scene(layouts, title))


def pareto_scene(layouts: Layouts, title: str) -> Scene:
    """The figure as shapes: memory to the right, time upwards, both logarithmic."""
    rows = layouts.rows
    memory = _scale(
        min(r.memory_low_bytes for r in rows),
        max(layouts.usable_bytes, *(r.memory_high_bytes for r in rows)),
    )
    step = _scale(min(r.step_low_s for r in rows), max(r.step_high_s for r in rows))
    shapes = [
        *_frame(layouts, title),
        *_ticks(memory, step),
        *_limit(layouts, memory),
        *_front(layouts, memory, step),
    ]
    for row in rows:
        shapes += _mark(row, memory, step)
    shapes += _numbers(layouts, memory, step)
    told = "; ".join(f"{r.layout}: {show_seconds(r.step_s)}, {r.cells[2]}" for r in layouts.front)
    return Scene(
        width=WIDTH,
        height=HEIGHT + LEGEND * len(layouts.front) + 8.0,
        title=f"Layouts of {clip(title, 60)}: step time against memory",
        desc=f"The Pareto front, fastest first: {told}",
        shapes=tuple(shapes),
    )


def _scale(low: float, high: float) -> LogScale:
    return LogScale(low=low / ROOM, high=high * ROOM)


def _x(scale: LogScale, value: float) -> float:
    return LEFT + scale.at(value) * (WIDTH - LEFT - RIGHT)


def _y(scale: LogScale, value: float) -> float:
    return HEIGHT - BOTTOM - scale.at(value) * (HEIGHT - TOP - BOTTOM)


def ticks(scale: LogScale) -> tuple[float, ...]:
    """Round values on a scale: the coarsest of powers of ten, 1-2-5 and 1 to 9 that gives three."""
    first, last = math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high))
    found: tuple[float, ...] = ()
    for steps in ((1,), (1, 2, 5), range(1, 10)):
        every = (step * 10.0**power for power in range(first, last + 1) for step in steps)
        found = tuple(value for value in every if scale.low <= value <= scale.high)
        if len(found) >= FEWEST_TICKS:
            break
    return found


def _frame(layouts: Layouts, title: str) -> Iterator[Shape]:
    words = f"Layouts of {clip(title, 50)}: step time against memory"
    yield Text(x=LEFT, y=26, text=words, size=17, bold=True)
    said = f"{layouts.feasible:,} of {layouts.considered:,} layouts fit; bars are 80% intervals"
    yield Text(x=LEFT, y=50, text=said, size=12.5, tone=Tone.MUTED)
    middle, foot = (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 28
    yield Text(x=middle, y=foot, text="memory of one GPU", size=13, anchor=Anchor.MIDDLE)
    yield Text(x=14, y=TOP - 8, text="step time", size=13)


def _ticks(memory: LogScale, step: LogScale) -> Iterator[Shape]:
    low, high = HEIGHT - BOTTOM, TOP
    for value in ticks(memory):
        x = _x(memory, value)
        yield line(x, low, x, high, Tone.BAND)
        yield Text(
            x=x, y=low + 16, text=show(value, "B"), size=12, tone=Tone.MUTED, anchor=Anchor.MIDDLE
        )
    for value in ticks(step):
        y = _y(step, value)
        yield line(LEFT, y, WIDTH - RIGHT, y, Tone.BAND)
        yield Text(
            x=LEFT - 8, y=y, text=show_seconds(value), size=12, tone=Tone.MUTED, anchor=Anchor.END
        )
    yield line(LEFT, low, WIDTH - RIGHT, low, Tone.INK, 1.2)
    yield line(LEFT, low, LEFT, high, Tone.INK, 1.2)


def _limit(layouts: Layouts, memory: LogScale) -> Iterator[Shape]:
    x = _x(memory, layouts.usable_bytes)
    yield line(x, HEIGHT - BOTTOM, x, TOP, Tone.ACCENT, 1.4, dashed=True)
    said = f"all there is: {show(layouts.usable_bytes, 'B')}"
    yield Text(x=x - 6, y=TOP + 8, text=said, size=12, tone=Tone.ACCENT, anchor=Anchor.END)


def _front(layouts: Layouts, memory: LogScale, step: LogScale) -> Iterator[Shape]:
    """Stairs: between two layouts of the front the slower one is the best that fits."""
    points: list[tuple[float, float]] = []
    for row in layouts.front:
        x, y = _x(memory, row.memory_bytes), _y(step, row.step_s)
        if points:
            points.append((points[-1][0], y))
        points.append((x, y))
    if len(points) > 1:
        yield Polyline(points=tuple(points), stroke=Tone.INK, stroke_width=1.6)


def _mark(row: LayoutRow, memory: LogScale, step: LogScale) -> Iterator[Shape]:
    x, y = _x(memory, row.memory_bytes), _y(step, row.step_s)
    low, high = _x(memory, row.memory_low_bytes), _x(memory, row.memory_high_bytes)
    yield line(low, y, high, y, Tone.FAINT, 1.4)
    yield line(x, _y(step, row.step_low_s), x, _y(step, row.step_high_s), Tone.FAINT, 1.4)
    if not row.on_front:
        yield Circle(x=x, y=y, r=5.0, fill=Tone.PAPER, stroke=Tone.INK, stroke_width=1.6)


def _numbers(layouts: Layouts, memory: LogScale, step: LogScale) -> Iterator[Shape]:
    """The front numbered from the fastest, and under the figure what each number is."""
    for place, row in enumerate(layouts.front):
        x, y = _x(memory, row.memory_bytes), _y(step, row.step_s)
        tone = Tone.ACCENT if row.role == "best" else Tone.INK
        number = str(place + 1)
        yield Circle(x=x, y=y, r=MARK, fill=tone)
        yield Text(x=x, y=y, text=number, size=11, tone=Tone.PAPER, anchor=Anchor.MIDDLE, bold=True)
        y = HEIGHT + LEGEND * place
        said = (number, show_seconds(row.step_s), show(row.memory_bytes, "B"))
        for at, cell in zip((LEFT + 12, LEFT + 86, LEFT + 172), said, strict=True):
            yield Text(x=at, y=y, text=cell, size=12, tone=tone, anchor=Anchor.END)
        yield Text(x=LEFT + 190, y=y, text=clip(row.layout, LABEL_LENGTH), size=12, tone=tone)
