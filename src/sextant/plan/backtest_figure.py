"""A scatter of predicted against measured step times: SVG, a page around it, or a bitmap."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

COLOURS = (
    "#2f6db5",
    "#c8553d",
    "#3a8f5c",
    "#8a5fb0",
    "#b8860b",
    "#2a8f9c",
    "#b0437a",
    "#6b6b6b",
    "#1f3c88",
    "#e08e45",
)
WIDTH, HEIGHT = 760, 560
LEFT, RIGHT, TOP, BOTTOM = 76, 208, 56, 64
BAND = 0.10
"""The shaded band: within 10% of the measurement."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One row. Seconds."""

    id: str
    case: str
    measured_s: float
    predicted_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """A logarithmic axis for both directions."""

    low: float
    high: float

    def x(self, value: float) -> float:
        """Pixels from the left."""
        return LEFT + self._share(value) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        return HEIGHT - BOTTOM - self._share(value) * (HEIGHT - TOP - BOTTOM)

    def _share(self, value: float) -> float:
        return math.log(value / self.low) / math.log(self.high / self.low)

    @property
    def ticks(self) -> list[float]:
        """Powers of ten inside the axis."""
        first = math.ceil(math.log10(self.low) - 1e-9)
        last = math.floor(math.log10(self.high) + 1e-9)
        return [10.0**n for n in range(first, last + 1)]


def points_of(rows: Sequence[Mapping[str, Any]]) -> list[Point]:
    """The points of a report's rows that state a step time."""
    return [
        Point(
            id=str(row["id"]),
            case=str(row["case"]),
            measured_s=float(row["measured"]["step_s"]),
            predicted_s=float(row["predicted"]["step_s"]),
        )
        for row in rows
        if isinstance(row["measured"].get("step_s"), (int, float)) and row["measured"]["step_s"] > 0
    ]


def scale_of(points: Sequence[Point]) -> Scale:
    """An axis that holds every point, from and to a round number."""
    values = [v for p in points for v in (p.measured_s, p.predicted_s)] or [1.0, 10.0]
    return Scale(low=min(values) / 1.3, high=max(values) * 1.3)


def colours(points: Sequence[Point]) -> dict[str, str]:
    """A colour for each case, in order of appearance."""
    names = dict.fromkeys(p.case for p in points)
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}


def svg(points: Sequence[Point]) -> str:
    """The figure as self-contained SVG; legible on light and dark."""
    scale, colour = scale_of(points), colours(points)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="predicted against measured step time of {len(points)} runs">',
        "<style>text{font:13px system-ui,sans-serif;fill:#222}.t{font-size:17px;font-weight:600}"
        ".g{stroke:#8886;stroke-width:1}.d{stroke:#555;stroke-width:1.5}.b{fill:#8882}"
        "@media(prefers-color-scheme:dark){text{fill:#eee}.d{stroke:#bbb}}</style>",
        f'<text class="t" x="{LEFT}" y="30">Step time: predicted against measured</text>',
        _band(scale),
    ]
    for tick in scale.ticks:
        x, y, low, high = scale.x(tick), scale.y(tick), scale.low, scale.high
        parts.append(
            f'<path class="g" d="M{x:.1f} {scale.y(low):.1f}V{scale.y(high):.1f}'
            f'M{scale.x(low):.1f} {y:.1f}H{scale.x(high):.1f}"/>'
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{tick:g} s</text>'
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g} s</text>'
        )
    for p in points:
        off = p.predicted_s / p.measured_s - 1.0
        parts.append(
            f'<circle cx="{scale.x(p.measured_s):.1f}" cy="{scale.y(p.predicted_s):.1f}" r="3.2" '
            f'fill="{colour[p.case]}" fill-opacity=".65"><title>{escape(p.id)}: measured '
            f"{p.measured_s:.3g} s, predicted {p.predicted_s:.3g} s ({off:+.1%})</title></circle>"
        )
    parts.append(_legend(points, colour))
    return "".join([*parts, "</svg>"])


def _band(scale: Scale) -> str:
    low, high = scale.low, scale.high
    corners = [
        (low, low * (1 + BAND)),
        (high / (1 + BAND), high),
        (high, high),
        (high, high * (1 - BAND)),
        (low / (1 - BAND), low),
        (low, low),
    ]
    path = " ".join(f"{scale.x(x):.1f},{scale.y(y):.1f}" for x, y in corners)
    line = f"M{scale.x(low):.1f} {scale.y(low):.1f}L{scale.x(high):.1f} {scale.y(high):.1f}"
    return f'<polygon class="b" points="{path}"/><path class="d" d="{line}"/>'


def _legend(points: Sequence[Point], colour: Mapping[str, str]) -> str:
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts = [
        f'<text x="{middle:.0f}" y="{HEIGHT - 18}" text-anchor="middle">measured</text>',
        f'<text transform="translate(20 {(TOP + HEIGHT - BOTTOM) / 2:.0f}) rotate(-90)" '
        'text-anchor="middle">predicted</text>',
        f'<text x="{WIDTH - RIGHT + 16}" y="{TOP + 4}">shaded: within {BAND:.0%}</text>',
    ]
    for i, (name, shade) in enumerate(colour.items()):
        y = TOP + 28 + 21 * i
        count = sum(p.case == name for p in points)
        parts.append(
            f'<circle cx="{WIDTH - RIGHT + 21}" cy="{y - 4}" r="5" fill="{shade}"/>'
            f'<text x="{WIDTH - RIGHT + 33}" y="{y}">{escape(name)} ({count})</text>'
        )
    return "".join(parts)


def page(points: Sequence[Point]) -> str:
    """The figure in a page of its own."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Backtest</title>'
        "<style>body{margin:2rem auto;max-width:900px;background:#fff}"
        "@media(prefers-color-scheme:dark){body{background:#16181c}}</style>"
        f"<body>{svg(points)}</body></html>"
    )


def png(points: Sequence[Point]) -> bytes:
    """The figure as a bitmap, drawn at twice its size."""
    from PIL import Image, ImageDraw, ImageFont

    scale, colour, zoom = scale_of(points), colours(points), 2
    image = Image.new("RGB", (WIDTH * zoom, HEIGHT * zoom), "white")
    draw = ImageDraw.Draw(image, "RGBA")
    font, title = ImageFont.load_default(13 * zoom), ImageFont.load_default(17 * zoom)

    def at(x: float, y: float) -> tuple[float, float]:
        return x * zoom, y * zoom

    draw.text(at(LEFT, 16), "Step time: predicted against measured", "#222", title)
    low, high = scale.low, scale.high
    for tick in scale.ticks:
        x, y = scale.x(tick), scale.y(tick)
        draw.line([at(x, scale.y(low)), at(x, scale.y(high))], "#dddddd", zoom)
        draw.line([at(scale.x(low), y), at(scale.x(high), y)], "#dddddd", zoom)
        draw.text(at(x, HEIGHT - BOTTOM + 10), f"{tick:g} s", "#222", font, anchor="ma")
        draw.text(at(LEFT - 8, y), f"{tick:g} s", "#222", font, anchor="rm")
    draw.line([at(scale.x(low), scale.y(low)), at(scale.x(high), scale.y(high))], "#555", zoom)
    for p in points:
        x, y = at(scale.x(p.measured_s), scale.y(p.predicted_s))
        draw.ellipse([x - 6, y - 6, x + 6, y + 6], colour[p.case] + "a0")
    for i, (name, shade) in enumerate(colour.items()):
        x, y = at(WIDTH - RIGHT + 21, TOP + 24 + 21 * i)
        draw.ellipse([x - 10, y - 10, x + 10, y + 10], shade)
        draw.text((x + 24, y), name, "#222", font, anchor="lm")
    draw.text(at((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 24), "measured", "#222", font, anchor="mm")
    draw.text(at(8, TOP - 14), "predicted", "#222", font)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
