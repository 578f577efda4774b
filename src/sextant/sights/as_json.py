"""Plans, rehearsals and drills as the JSON that scripts rely on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from enum import Enum
from typing import Any

from sextant.axes import AXES
from sextant.plan.quantity import Budget, Ceiling, Lean, Plan, Quantity
from sextant.sights.rehearsal import DrillResult, Rehearsal
from sextant.sights.scales import ratio_of


def plan_json(plan: Plan) -> dict[str, Any]:
    """What `plan --json` prints."""
    nearest = plan.nearest
    return _clean_object(
        {
            "workload": plan.workload,
            "does": plan.does,
            "machine": plan.machine,
            "striking": asdict(plan.striking),
            "order": [asdict(step) for step in plan.order],
            "coordinates": {
                "axes": list(plan.coordinates.axes),
                "refused": [axis for axis in AXES if axis in plan.coordinates.refused],
            },
            "ceilings": [_ceiling(c) for c in plan.ceilings],
            "headroom": [_ceiling(c) for c in plan.headroom],
            "marks": [asdict(mark) for mark in plan.marks],
            "nearest": None if nearest is None else asdict(nearest),
            "hardest": asdict(plan.hardest),
            "layout": plan.layout,
            "quantities": {name: quantity_json(q) for name, q in plan.quantities.items()},
            "lean": dict(plan.lean.busy),
            "lean_waiting": dict(plan.lean.waiting),
            "budget": None if plan.budget is None else _budget(plan.budget),
            "risks": list(plan.risks),
            "assumptions": list(plan.assumptions),
        }
    )


def quantity_json(quantity: Quantity) -> dict[str, Any]:
    """One quantity of a plan."""
    return _clean_object(
        {
            "value": float(quantity.value),
            "unit": quantity.unit,
            "low": float(quantity.low),
            "high": float(quantity.high),
            "because": quantity.because,
            "source": quantity.source,
        }
    )


def rehearsal_json(rehearsal: Rehearsal) -> dict[str, Any]:
    """What `rehearse --json` prints."""
    return _clean_object(
        {
            "workload": rehearsal.workload,
            "plan_sha256": rehearsal.plan_sha256,
            "scale": rehearsal.scale,
            "fleet": rehearsal.fleet,
            "sights": [
                asdict(s) | {"ratio": s.ratio, "inside": s.inside} for s in rehearsal.sights
            ],
            "lean": {
                "predicted": _lean(rehearsal.lean_predicted),
                "measured": _lean(rehearsal.lean_measured),
            },
            "record": rehearsal.record,
            "notes": list(rehearsal.notes),
        }
    )


def drill_json(drill: DrillResult) -> dict[str, Any]:
    """What `drill --json` prints."""
    return _clean_object(asdict(drill))


def _ceiling(ceiling: Ceiling) -> dict[str, Any]:
    return asdict(ceiling) | {"ratio": ratio_of(ceiling)}


def _lean(lean: Lean) -> dict[str, Any]:
    return {"busy": dict(lean.busy), "waiting": dict(lean.waiting)}


def _budget(budget: Budget) -> dict[str, Any]:
    total = sum(stage.seconds for stage in budget.stages)
    return asdict(budget) | {"total_s": total, "left_s": budget.allowed_s - total}


def _clean_object(value: Mapping[str, Any]) -> dict[str, Any]:
    return {str(_clean(key)): _clean(item) for key, item in value.items()}


def _clean(value: Any) -> Any:
    """The value in JSON's own types; what is not finite becomes null."""
    match value:
        case Enum():
            return _clean(value.value)
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return _clean_object(value)
        case set() | frozenset():
            return sorted((_clean(item) for item in value), key=str)
        case list() | tuple():
            return [_clean(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return _clean_object(asdict(value))
    return str(value)
