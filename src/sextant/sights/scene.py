"""A drawing as a list of shapes, so that one geometry is rendered by several backends."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Tone(StrEnum):
    """A role of colour; each backend and theme gives it its own value."""

    INK = "ink"
    MUTED = "muted"
    FAINT = "faint"
    BAND = "band"
    ROW = "row"
    PAPER = "paper"
    ACCENT = "accent"


LIGHT: dict[Tone, str] = {
    Tone.INK: "#17212b",
    Tone.MUTED: "#56626c",
    Tone.FAINT: "#b9c1c6",
    Tone.BAND: "#e9edef",
    Tone.ROW: "#f6ece6",
    Tone.PAPER: "#ffffff",
    Tone.ACCENT: "#b4431c",
}
DARK: dict[Tone, str] = {
    Tone.INK: "#e8edf0",
    Tone.MUTED: "#9aa8b2",
    Tone.FAINT: "#4c5963",
    Tone.BAND: "#222e37",
    Tone.ROW: "#33241d",
    Tone.PAPER: "#131a20",
    Tone.ACCENT: "#ff8f63",
}


class Anchor(StrEnum):
    """Which end of a text its x names."""

    START = "start"
    MIDDLE = "middle"
    END = "end"


@dataclass(frozen=True, kw_only=True, slots=True)
class Circle:
    """A disc, a ring, or a disc with a rim."""

    x: float
    y: float
    r: float
    fill: Tone | None = None
    stroke: Tone | None = None
    stroke_width: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Polyline:
    """Straight pieces through points, dashed if asked."""

    points: tuple[tuple[float, float], ...]
    stroke: Tone
    stroke_width: float = 1.0
    dashed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Rect:
    """A filled box, its corners rounded by `radius`."""

    x: float
    y: float
    width: float
    height: float
    fill: Tone
    radius: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """One line of text; `y` is the middle of the small letters."""

    x: float
    y: float
    text: str
    size: float
    tone: Tone = Tone.INK
    anchor: Anchor = Anchor.START
    bold: bool = False


Shape = Circle | Polyline | Rect | Text


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """Shapes in painting order on a canvas, with words for those who cannot see it."""

    width: float
    height: float
    title: str
    desc: str
    shapes: tuple[Shape, ...]


def line(
    x1: float,
    y1: float,
    x2: float,
    y2: float,
    stroke: Tone,
    stroke_width: float = 1.0,
    *,
    dashed: bool = False,
) -> Polyline:
    """A straight line."""
    return Polyline(
        points=((x1, y1), (x2, y2)), stroke=stroke, stroke_width=stroke_width, dashed=dashed
    )


def clip(text: str, length: int) -> str:
    """The text on one line, at most `length` characters, the cut marked by an ellipsis."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return flat if len(flat) <= length else flat[: max(0, length - 1)].rstrip() + "…"
