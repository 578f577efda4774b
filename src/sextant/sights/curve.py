"""Curves of a training: loss by step, as a figure."""

from __future__ import annotations

import math
from collections.abc import Mapping

from sextant.sights.png import scene_png
from sextant.sights.scene import Anchor, Circle, Polyline, Rect, Scene, Shape, Text, Tone, line

_WIDTH, _HEIGHT = 640.0, 360.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 56.0, 20.0, 44.0, 40.0
_MOST_POINTS = 400
_GRID = 4


def loss_png(losses: Mapping[int, float], held: Mapping[int, float], *, scale: int = 2) -> bytes:
    """The loss curve as a PNG file.

    Args:
        losses: of the text that was learned from, by step, in nats a token.
        held: of the text that was held back, by step.
        scale: pixels for each unit of the figure.
    """
    return scene_png(loss_scene(losses, held), scale=scale)


def loss_scene(losses: Mapping[int, float], held: Mapping[int, float]) -> Scene:
    """The figure as shapes: a line for the training text, marks for the held text."""
    finite = {step: loss for step, loss in losses.items() if math.isfinite(loss)}
    marks = {step: loss for step, loss in held.items() if math.isfinite(loss)}
    values = [*finite.values(), *marks.values()] or [0.0]
    low, high = min(values), max(values)
    span = high - low or 1.0
    last = max([*finite, *marks, 1])

    def place(step: float, loss: float) -> tuple[float, float]:
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * step / last
        return x, _TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - loss) / span

    shapes: list[Shape] = [
        Rect(x=0, y=0, width=_WIDTH, height=_HEIGHT, fill=Tone.PAPER),
        Text(x=_LEFT, y=22, text="Loss a token, in nats", size=14, bold=True),
    ]
    for tick in range(_GRID + 1):
        loss = low + span * tick / _GRID
        y = place(0, loss)[1]
        shapes.append(line(_LEFT, y, _WIDTH - _RIGHT, y, Tone.BAND))
        shapes.append(
            Text(x=_LEFT - 8, y=y, text=f"{loss:.2f}", size=11, tone=Tone.MUTED, anchor=Anchor.END)
        )
        step = last * tick / _GRID
        x = place(step, low)[0]
        shapes.append(
            Text(
                x=x,
                y=_HEIGHT - 20,
                text=f"{step:,.0f}",
                size=11,
                tone=Tone.MUTED,
                anchor=Anchor.MIDDLE,
            )
        )
    if len(finite) > 1:
        points = tuple(place(step, loss) for step, loss in _thinned(finite))
        shapes.append(Polyline(points=points, stroke=Tone.INK, stroke_width=1.5))
    for step, loss in sorted(marks.items()):
        x, y = place(step, loss)
        shapes.append(Circle(x=x, y=y, r=3.5, fill=Tone.ACCENT))
    if marks:
        shapes.append(Circle(x=_WIDTH - 130, y=22, r=3.5, fill=Tone.ACCENT))
        shapes.append(Text(x=_WIDTH - 120, y=22, text="held text", size=12, tone=Tone.MUTED))
    ends = f"from {values[0]:.3f} to {[*finite.values(), values[-1]][-1]:.3f}"
    return Scene(
        width=_WIDTH,
        height=_HEIGHT,
        title="Loss by step",
        desc=f"{len(finite)} steps, {ends}",
        shapes=tuple(shapes),
    )


def _thinned(losses: Mapping[int, float]) -> list[tuple[int, float]]:
    """The means of as many stretches as can be seen apart."""
    steps = sorted(losses)
    each = max(1, math.ceil(len(steps) / _MOST_POINTS))
    found = []
    for first in range(0, len(steps), each):
        part = steps[first : first + each]
        found.append((part[len(part) // 2], sum(losses[s] for s in part) / len(part)))
    return found
