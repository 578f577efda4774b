"""Draws a scene as SVG: attributes carry the light colours, a style sheet the dark ones."""

from __future__ import annotations

import hashlib
from html import escape

from sextant.sights.scene import DARK, LIGHT, Circle, Polyline, Rect, Scene, Shape, Text, Tone

FONT = "ui-sans-serif, system-ui, 'Segoe UI', Helvetica, Arial, sans-serif"
# A text's y is the middle of its small letters; SVG wants the baseline.
MIDDLE_TO_BASELINE_EM = 0.34


def scene_svg(scene: Scene, *, standalone: bool = True) -> str:
    """The scene as an SVG element.

    Args:
        scene: what to draw.
        standalone: a file of its own, with a style sheet and a background; otherwise a piece of
            a page whose style sheet colours the same classes.
    """
    key = hashlib.sha256(f"{scene.title}|{scene.desc}".encode()).hexdigest()[:8]
    width, height = _n(scene.width), _n(scene.height)
    size = f' width="{width}" height="{height}"' if standalone else ""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"{size} role="img" '
        f'aria-labelledby="t{key} d{key}" font-family="{FONT}">'
        f'<title id="t{key}">{_text(scene.title)}</title>'
        f'<desc id="d{key}">{_text(scene.desc)}</desc>'
    )
    canvas = Rect(x=0, y=0, width=scene.width, height=scene.height, fill=Tone.PAPER)
    ground = f"<style>{_style()}</style>{_shape(canvas)}" if standalone else ""
    return head + ground + "".join(_shape(shape) for shape in scene.shapes) + "</svg>\n"


def _style() -> str:
    def rules(colours: dict[Tone, str]) -> str:
        return "".join(
            f".f-{tone}{{fill:{value}}}.s-{tone}{{stroke:{value}}}"
            for tone, value in colours.items()
        )

    return f"{rules(LIGHT)}@media screen and (prefers-color-scheme:dark){{{rules(DARK)}}}"


def _shape(shape: Shape) -> str:
    match shape:
        case Circle():
            paint = _paint(shape.fill, shape.stroke, shape.stroke_width)
            return f'<circle cx="{_n(shape.x)}" cy="{_n(shape.y)}" r="{_n(shape.r)}" {paint}/>'
        case Polyline():
            points = " ".join(f"{_n(x)},{_n(y)}" for x, y in shape.points)
            dash = ' stroke-dasharray="4 3"' if shape.dashed else ""
            paint = _paint(None, shape.stroke, shape.stroke_width)
            return f'<polyline points="{points}" {paint} stroke-linejoin="round"{dash}/>'
        case Rect():
            radius = f' rx="{_n(shape.radius)}"' if shape.radius else ""
            return (
                f'<rect x="{_n(shape.x)}" y="{_n(shape.y)}" width="{_n(shape.width)}" '
                f'height="{_n(shape.height)}"{radius} {_paint(shape.fill, None, 0)}/>'
            )
        case Text():
            return _text_element(shape)


def _text_element(shape: Text) -> str:
    baseline = shape.y + MIDDLE_TO_BASELINE_EM * shape.size
    weight = ' font-weight="650"' if shape.bold else ""
    return (
        f'<text x="{_n(shape.x)}" y="{_n(baseline)}" font-size="{_n(shape.size)}"{weight} '
        f'text-anchor="{shape.anchor}" {_paint(shape.tone, None, 0)}>{_text(shape.text)}</text>'
    )


def _paint(fill: Tone | None, stroke: Tone | None, stroke_width: float) -> str:
    classes = " ".join(
        name for name in (fill and f"f-{fill}", stroke and f"s-{stroke}") if name is not None
    )
    colour = LIGHT[fill] if fill is not None else "none"
    edge = f' stroke="{LIGHT[stroke]}" stroke-width="{_n(stroke_width)}"' if stroke else ""
    return f'class="{classes}" fill="{colour}"{edge}'


def _text(text: str) -> str:
    """Escaped, and without the control characters that XML forbids."""
    return escape("".join(c if c.isprintable() else " " for c in text))


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
