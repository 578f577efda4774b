"""The JSON that scripts rely on."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from sights_plans import at, rag_plan
from sights_runs import drill, rehearsal

from sextant.axes import Axis
from sextant.plan.quantity import Ceiling
from sextant.sights.as_json import drill_json, plan_json, quantity_json, rehearsal_json


def round_trip(value: dict[str, Any]) -> dict[str, Any]:
    """Through JSON's own text, which may hold nothing that is not finite."""
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    return value


def test_a_plan_has_every_key_that_is_promised() -> None:
    plan = round_trip(plan_json(rag_plan()))
    promised = (
        "workload striking order coordinates ceilings nearest hardest layout quantities lean risks"
    )
    assert set(promised.split()) <= set(plan)
    assert {"marks", "headroom", "budget", "assumptions"} <= set(plan)
    assert plan["striking"]["number"] == "30.72 TB"
    assert plan["coordinates"] == {
        "axes": ["data", "model", "inference", "coordination"],
        "refused": [],
    }
    assert [step["axis"] for step in plan["order"]] == [
        "data",
        "model",
        "inference",
        "coordination",
    ]
    assert set(plan["ceilings"][0]) >= {"name", "axis", "ratio", "because"}
    assert plan["ceilings"][0]["ratio"] == pytest.approx(15.36)
    raw = plan["quantities"]["index_raw_bytes"]
    assert set(raw) == {"value", "unit", "low", "high", "because", "source"}
    assert raw["value"] == 30.72e12
    assert plan["lean"]["data"] == 0.38
    assert plan["nearest"] == {"name": "live-moderation", "distance": 0}
    assert plan["budget"]["left_s"] == pytest.approx(0.2951)


def test_counts_are_floats_too() -> None:
    assert all(isinstance(q["value"], float) for q in plan_json(rag_plan())["quantities"].values())
    assert isinstance(quantity_json(rag_plan().quantities["num_shards"])["value"], float)


def test_what_is_not_finite_becomes_null() -> None:
    never = Ceiling(
        name="custody", axis=Axis.DATA, demand=1.0, capacity=0.0, unit="", because="may not leave"
    )
    plan = replace(
        rag_plan(),
        ceilings=(never,),
        coordinates=at("tc", "d"),
        nearest=None,
        budget=None,
        layout={"a": math.nan, "b": (1, 2), "c": frozenset({Axis.DATA}), "d": {"e": math.inf}},
    )
    told = round_trip(plan_json(plan))
    assert told["ceilings"][0]["ratio"] is None
    assert told["layout"] == {"a": None, "b": [1, 2], "c": ["data"], "d": {"e": None}}
    assert told["coordinates"]["refused"] == ["data"]
    assert told["nearest"] is None
    assert told["budget"] is None


def test_a_rehearsal_has_every_key_that_is_promised() -> None:
    told = round_trip(rehearsal_json(rehearsal()))
    assert {"plan_sha256", "scale", "fleet", "sights", "lean", "record"} <= set(told)
    assert len(told["plan_sha256"]) == 64
    first = told["sights"][0]
    assert {"quantity", "predicted", "low", "high", "measured", "ratio", "unit"} <= set(first)
    assert first["ratio"] == pytest.approx(67.4 / 66.8)
    assert told["lean"]["measured"]["busy"]["data"] == 0.27
    assert set(told["lean"]["predicted"]) == {"busy", "waiting"}


def test_a_drill_has_every_key_that_is_promised() -> None:
    told = round_trip(drill_json(drill()))
    assert {"faults", "recovery", "lost", "held", "expectations"} <= set(told)
    assert told["faults"] == [{"spec": "stop:shard/3@2s", "fired_at_s": 2.003}]
    assert set(told["recovery"]) == {"detect_s", "restart_s", "warm_s", "full_s"}
    assert told["held"] is False
    assert set(told["expectations"][0]) == {"what", "expected", "measured", "held"}
