"""The words that all three renderings of the one-page answer share."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from sextant.axes import AXES, Axis, Coordinates
from sextant.plan.quantity import Budget, Lean, Plan, Quantity
from sextant.sights.map_row import MapRow
from sextant.sights.scales import ratio_of
from sextant.units import show, show_ratio, show_seconds

FORCES = "What forces it off one machine?"
ORDER = "Which axes does it spread, and in what order?"
NUMBER = "The number to remember"
DOES = "What does it do?"
NOTHING_BINDS = "Nothing does: one machine is enough."


def title_of(plan: Plan, rows: Sequence[MapRow] = ()) -> str:
    """The title of the system: its row's on the map if it has one, else its name in words."""
    for row in rows:
        if _slug(row.title) == _slug(plan.workload) and row.title != plan.workload:
            return row.title
    name = plan.workload.replace("-", " ").replace("_", " ").strip()
    return name[:1].upper() + name[1:]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def placed(
    plan: Plan, rows: Sequence[MapRow], title: str | None = None
) -> tuple[tuple[MapRow, ...], str]:
    """The map's rows with this system among them (in its own place, else first), and its title."""
    title = title or title_of(plan, rows)
    if any(row.title == title and row.coordinates == plan.coordinates for row in rows):
        return tuple(rows), title
    others = tuple(row for row in rows if row.title not in (title, plan.workload))
    mine = MapRow(title=title, coordinates=plan.coordinates, ceiling=binding_words(plan))
    return (mine, *others), title


def binding_words(plan: Plan) -> str:
    """The ceiling that binds most, with its ratio."""
    if not plan.ceilings:
        return "none"
    worst = plan.ceilings[0]
    return f"{worst.name} {show_ratio(ratio_of(worst))}"


def nearest_words(plan: Plan, rows: Sequence[MapRow] = ()) -> str:
    """Which known system it resembles, and how far that one is."""
    if plan.nearest is None:
        return "It spreads no axis, so it resembles none of them."
    titles = {_slug(row.title): row.title for row in rows}
    name = titles.get(_slug(plan.nearest.name), plan.nearest.name)
    distance = plan.nearest.distance
    apart = {0: "the same axes", 1: "one axis apart"}.get(distance, f"{distance} axes apart")
    return f"Nearest known system: {name}, {apart}."


def value_words(quantity: Quantity) -> str:
    """The value as a person reads it."""
    return figure(quantity.value, quantity.unit)


def figure(value: float, unit: str) -> str:
    """A value as a person reads it; millions of money in millions."""
    if unit == "USD" and 1e6 <= abs(value) < math.inf:
        return f"${value / 1e6:,.4g} million"
    return show(value, unit)


def interval_words(quantity: Quantity) -> str:
    """The 80% interval as a person reads it; empty where the value is exact."""
    return range_words(quantity.low, quantity.high, quantity.unit)


def range_words(low: float, high: float, unit: str) -> str:
    """`0.9 – 1.1 ms`; empty if both ends are one value."""
    if low == high or (math.isclose(low, high, rel_tol=1e-9)):
        return ""
    first, last = figure(three_digits(low), unit), figure(three_digits(high), unit)
    low_number, _, low_unit = first.partition(" ")
    if low_unit and low_unit == last.partition(" ")[2]:
        return f"{low_number} – {last}"
    return f"{first} – {last}"


def three_digits(value: float) -> float:
    """The value rounded to three significant digits."""
    return float(f"{value:.3g}")


def budget_total_s(budget: Budget) -> float:
    """What the stages add up to."""
    return sum(stage.seconds for stage in budget.stages)


def budget_words(budget: Budget) -> str:
    """What is left of what is allowed, or by how much it is overrun."""
    left = budget.allowed_s - budget_total_s(budget)
    total, allowed = show_seconds(budget_total_s(budget)), show_seconds(budget.allowed_s)
    if not math.isfinite(budget.allowed_s):
        return f"{total} in all; nothing limits it"
    if left < 0:
        return f"{total} of {allowed} allowed: over by {show_seconds(-left)}"
    return f"{total} of {allowed} allowed: {show_seconds(left)} left"


def lean_axes(*leans: Lean) -> tuple[Axis, ...]:
    """The axes that any of the leans charges, in the map's order."""
    return tuple(
        axis
        for axis in Axis
        if any(lean.busy.get(axis, 0) > 0 or lean.waiting.get(axis, 0) > 0 for lean in leans)
    )


def percent(share: float) -> str:
    """A share as a whole percentage; what is there but under one says so."""
    if 0 < share < 0.01:
        return "<1%"
    return f"{100 * share:.0f}%"


def sentence(text: str) -> str:
    """The text with a capital at its head, unless a name of code stands there, and a full stop."""
    text = text.strip()
    first = text.partition(" ")[0].rstrip(",:;")
    if first.isalpha():
        text = text[:1].upper() + text[1:]
    return text if not text or text[-1] in ".!?…" else text + "."


def marks_of(coordinates: Coordinates) -> tuple[str, ...]:
    """One character an axis: ● spread, ⊘ refused, · whole."""
    return tuple(
        "⊘" if axis in coordinates.refused else "●" if axis in coordinates.spread else "·"
        for axis in AXES
    )
