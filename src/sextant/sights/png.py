"""Draws a scene as PNG with Pillow: large first, then scaled down, so that edges are smooth."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from sextant.sights.scene import (
    DARK,
    LIGHT,
    Anchor,
    Circle,
    Polyline,
    Rect,
    Scene,
    Shape,
    Text,
    Tone,
)

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

_ANCHORS = {Anchor.START: "l", Anchor.MIDDLE: "m", Anchor.END: "r"}


def scene_png(scene: Scene, *, scale: int = 2, oversample: int = 3, dark: bool = False) -> bytes:
    """The scene as a PNG file.

    Args:
        scene: what to draw.
        scale: pixels of the result for each unit of the scene.
        oversample: how many times larger than the result it is drawn at first.
        dark: on a dark ground.
    """
    from PIL import Image, ImageDraw

    colours = DARK if dark else LIGHT
    factor = scale * oversample
    size = (round(scene.width * factor), round(scene.height * factor))
    image = Image.new("RGB", size, colours[Tone.PAPER])
    draw = ImageDraw.Draw(image)
    for shape in scene.shapes:
        _draw(draw, shape, factor, colours)
    final = (round(scene.width * scale), round(scene.height * scale))
    small = image.resize(final, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _draw(draw: ImageDraw, shape: Shape, factor: int, colours: dict[Tone, str]) -> None:
    match shape:
        case Circle():
            # Pillow draws a rim inside the box, SVG astride it: grow by half the rim.
            r = (shape.r + shape.stroke_width / 2) * factor
            x, y = shape.x * factor, shape.y * factor
            draw.ellipse(
                (x - r, y - r, x + r, y + r),
                fill=colours[shape.fill] if shape.fill else None,
                outline=colours[shape.stroke] if shape.stroke else None,
                width=round(shape.stroke_width * factor),
            )
        case Polyline():
            points = [(x * factor, y * factor) for x, y in shape.points]
            width = max(1, round(shape.stroke_width * factor))
            draw.line(points, fill=colours[shape.stroke], width=width, joint="curve")
        case Rect():
            x, y = shape.x * factor, shape.y * factor
            box = (x, y, x + shape.width * factor, y + shape.height * factor)
            draw.rounded_rectangle(box, shape.radius * factor, fill=colours[shape.fill])
        case Text():
            _draw_text(draw, shape, factor, colours)


def _draw_text(draw: ImageDraw, shape: Text, factor: int, colours: dict[Tone, str]) -> None:
    from PIL import ImageFont

    size = shape.size * factor
    draw.text(
        (shape.x * factor, shape.y * factor + 0.34 * size),
        shape.text,
        fill=colours[shape.tone],
        font=ImageFont.load_default(size),
        anchor=_ANCHORS[shape.anchor] + "s",
        # The built-in font has one weight: a thin outline makes the bold.
        stroke_width=round(0.022 * size) if shape.bold else 0,
    )
