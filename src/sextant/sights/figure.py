"""The map's figure: systems by axes, as a grid of filled circles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sextant.axes import AXES, Axis
from sextant.sights.map_row import SHORT, MapRow
from sextant.sights.png import scene_png
from sextant.sights.scene import Anchor, Circle, Rect, Scene, Shape, Text, Tone, clip, line
from sextant.sights.svg import scene_svg


@dataclass(frozen=True, kw_only=True, slots=True)
class Geometry:
    """Measures of the grid, in units of the scene."""

    margin: float
    title_width: float
    title_length: int
    column: float
    count_width: float
    ceiling_width: float
    ceiling_length: int
    head: float
    row: float
    foot: float
    size: float
    small: float
    mark: float
    short_names: bool

    @property
    def left(self) -> float:
        """Where the first column of the grid begins."""
        return self.margin + self.title_width

    @property
    def right(self) -> float:
        """Where the last column of the grid ends."""
        return self.left + self.column * len(AXES)

    @property
    def width(self) -> float:
        """The whole width."""
        return self.right + self.count_width + self.ceiling_width + self.margin

    def x(self, axis: Axis) -> float:
        """The middle of an axis's column."""
        return self.left + self.column * (AXES.index(axis) + 0.5)

    def y(self, index: int) -> float:
        """The middle of a row."""
        return self.head + self.row * (index + 0.5)


WIDE = Geometry(
    margin=28, title_width=200, title_length=27, column=92, count_width=64, ceiling_width=190,
    ceiling_length=32, head=92, row=38, foot=82, size=15, small=12.5, mark=9.5, short_names=False,
)  # fmt: skip
COMPACT = Geometry(
    margin=2, title_width=174, title_length=25, column=46, count_width=44, ceiling_width=0,
    ceiling_length=0, head=28, row=21.5, foot=48, size=12.5, small=11, mark=6.2, short_names=True,
)  # fmt: skip


def is_rare(rows: Sequence[MapRow], axis: Axis) -> bool:
    """Whether at most a quarter of the rows (or only one) spreads the axis."""
    count = sum(axis in row.coordinates.spread for row in rows)
    return 0 < count <= max(1, len(rows) // 4)


def map_svg(rows: Sequence[MapRow], highlight: str | None = None) -> str:
    """The figure as an SVG file, for print and for both themes of a screen.

    Args:
        rows: the systems, from top to bottom.
        highlight: the title of the row to point out, if any.
    """
    return scene_svg(map_scene(rows, highlight, WIDE))


def map_png(
    rows: Sequence[MapRow], highlight: str | None = None, *, scale: int = 2, dark: bool = False
) -> bytes:
    """The figure as a PNG file, `scale` pixels for each unit of the SVG."""
    return scene_png(map_scene(rows, highlight, WIDE), scale=scale, dark=dark)


def map_inline(rows: Sequence[MapRow], highlight: str | None = None) -> str:
    """The small figure as an SVG element for a page, without the ceilings."""
    return scene_svg(map_scene(rows, highlight, COMPACT), standalone=False)


def map_scene(rows: Sequence[MapRow], highlight: str | None, geometry: Geometry) -> Scene:
    """The figure as shapes."""
    shapes: list[Shape] = [*_ground(rows, highlight, geometry), *_head(geometry)]
    for index, row in enumerate(rows):
        shapes += _row(row, index, geometry, highlighted=row.title == highlight)
        shapes += _marks(row, geometry.y(index), rows, geometry)
    shapes += [*_counts(rows, geometry), *_legend(rows, geometry)]
    return Scene(
        width=geometry.width,
        height=geometry.head + geometry.row * len(rows) + geometry.foot,
        title="The map: which axes each system spreads over machines",
        desc="; ".join(_sentence(row) for row in rows),
        shapes=tuple(shapes),
    )


def _sentence(row: MapRow) -> str:
    spread = ", ".join(row.coordinates.axes) or "nothing"
    refused = ", ".join(axis for axis in AXES if axis in row.coordinates.refused)
    return f"{clip(row.title, 60)} spreads {spread}" + (f", refuses {refused}" if refused else "")


def _ground(rows: Sequence[MapRow], highlight: str | None, g: Geometry) -> Iterator[Shape]:
    """What lies under the marks: the band of coordination, and the row pointed out."""
    for index, row in enumerate(rows):
        if row.title == highlight:
            top, width = g.y(index) - g.row / 2, g.width - g.margin
            box = {"x": g.margin / 2, "y": top + 1, "height": g.row - 2}
            yield Rect(**box, width=width, fill=Tone.ROW, radius=3)
            yield Rect(**box, width=3, fill=Tone.ACCENT)
    inset = 0.03 * g.column
    yield Rect(
        x=g.x(Axis.COORDINATION) - g.column / 2 + inset,
        y=g.head - 2.3 * g.small,
        width=g.column - 2 * inset,
        height=g.row * len(rows) + 2.3 * g.small + 2.6 * g.small,
        fill=Tone.BAND,
        radius=g.mark * 0.8,
    )


def _head(g: Geometry) -> Iterator[Shape]:
    if not g.short_names:
        words = "The map: which axes each system spreads over machines"
        yield Text(x=g.margin, y=30, text=words, size=18, bold=True)
    y = g.head - 1.15 * g.small
    for axis in AXES:
        name = SHORT[axis] if g.short_names else str(axis)
        tone = Tone.INK if axis is Axis.COORDINATION else Tone.MUTED
        yield Text(x=g.x(axis), y=y, text=name, size=g.small, tone=tone, anchor=Anchor.MIDDLE)
    x = g.right + g.count_width * 0.55
    yield Text(x=x, y=y, text="axes", size=g.small, tone=Tone.MUTED, anchor=Anchor.MIDDLE)
    if g.ceiling_width:
        x = g.right + g.count_width
        yield Text(x=x, y=y, text="ceiling that binds", size=g.small, tone=Tone.MUTED)
    yield line(g.margin, g.head, g.width - g.margin, g.head, Tone.INK, 1.2)


def _row(row: MapRow, index: int, g: Geometry, *, highlighted: bool) -> Iterator[Shape]:
    y = g.y(index)
    if index:
        top = y - g.row / 2
        yield line(g.margin, top, g.width - g.margin, top, Tone.BAND, 1.0)
    x = g.margin + (g.mark if g.short_names else 0)
    yield Text(x=x, y=y, text=clip(row.title, g.title_length), size=g.size, bold=highlighted)
    yield Text(
        x=g.right + g.count_width * 0.55, y=y, text=str(len(row.coordinates.spread)),
        size=g.size, anchor=Anchor.MIDDLE, bold=True,
    )  # fmt: skip
    if g.ceiling_width:
        words = clip(row.ceiling, g.ceiling_length)
        x = g.right + g.count_width
        yield Text(x=x, y=y, text=words, size=g.small, tone=Tone.MUTED)


def _marks(row: MapRow, y: float, rows: Sequence[MapRow], g: Geometry) -> Iterator[Shape]:
    for axis in AXES:
        x, r = g.x(axis), g.mark
        if axis in row.coordinates.spread:
            lone = axis is Axis.INTELLIGENCE and is_rare(rows, axis)
            # The ring around a lone mark is seen in print too, where colour may be lost.
            if lone:
                yield Circle(x=x, y=y, r=r * 1.42, stroke=Tone.ACCENT, stroke_width=r * 0.17)
            yield Circle(x=x, y=y, r=r, fill=Tone.ACCENT if lone else Tone.INK)
        elif axis in row.coordinates.refused:
            yield refused_ring(x, y, r)
            d = r * 0.62
            yield line(x - d, y + d, x + d, y - d, Tone.INK, r * 0.24)
        else:
            yield Circle(x=x, y=y, r=max(1.3, r * 0.19), fill=Tone.FAINT)


def refused_ring(x: float, y: float, r: float) -> Circle:
    """The ring of the mark for *refused*; its slash is drawn over it."""
    return Circle(x=x, y=y, r=r * 0.88, fill=Tone.PAPER, stroke=Tone.INK, stroke_width=r * 0.24)


def _counts(rows: Sequence[MapRow], g: Geometry) -> Iterator[Shape]:
    bottom = g.head + g.row * len(rows)
    yield line(g.margin, bottom, g.width - g.margin, bottom, Tone.INK, 1.2)
    y = bottom + 1.3 * g.small
    x = g.margin + (g.mark if g.short_names else 0)
    yield Text(x=x, y=y, text="systems that spread it", size=g.small, tone=Tone.MUTED)
    for axis in AXES:
        count = sum(axis in row.coordinates.spread for row in rows)
        yield Text(
            x=g.x(axis), y=y, text=f"{count}/{len(rows)}", size=g.small, anchor=Anchor.MIDDLE,
            bold=count == len(rows) or is_rare(rows, axis),
        )  # fmt: skip


def _legend(rows: Sequence[MapRow], g: Geometry) -> Iterator[Shape]:
    y = g.head + g.row * len(rows) + g.foot - 1.2 * g.small
    r = g.mark * 0.72
    x = g.margin + (g.mark if g.short_names else 0) + r
    steps = (4.2 * g.small + 24, 4.5 * g.small + 24, 0.0)
    for word, step in zip(("spread", "refused", "whole"), steps, strict=True):
        if word == "spread":
            yield Circle(x=x, y=y, r=r, fill=Tone.INK)
        elif word == "refused":
            yield refused_ring(x, y, r)
            d = r * 0.62
            yield line(x - d, y + d, x + d, y - d, Tone.INK, r * 0.24)
        else:
            yield Circle(x=x, y=y, r=max(1.3, r * 0.25), fill=Tone.FAINT)
        yield Text(x=x + r + 5, y=y, text=word, size=g.small, tone=Tone.MUTED)
        x += step
