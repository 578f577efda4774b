"""Any valid workload gives a finite part or a named constraint, never a traceback."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sextant.errors import InfeasibleError
from sextant.facts import Facts, load_facts
from sextant.plan.federated import plan_federated
from sextant.plan.part import Part
from sextant.plan.recommender import plan_recommender
from sextant.plan.swarm import plan_swarm
from sextant.workload import Workload

FACTS: Facts = load_facts()
MACHINES = sorted(FACTS.machines)


def _number(low: float, high: float) -> st.SearchStrategy[float]:
    """Spread evenly over the orders of magnitude."""
    return st.floats(math.log10(low), math.log10(high)).map(lambda x: min(high, max(low, 10**x)))


big, time = _number(1, 1e27), _number(1e-12, 1e27)
usual = _number(1e-4, 1e6)
seconds = st.one_of(st.just(0.0), usual, time)
whole = st.one_of(st.integers(1, 100), st.integers(1, 10**9))
dtype = st.sampled_from(["fp64", "fp32", "bf16", "int8", "int4"])
tables = st.fixed_dictionaries(
    {"rows": big},
    optional={
        "dims": whole,
        "dtype": dtype,
        "lookups_per_sample": _number(1e-12, 1e27),
        "optimizer": st.sampled_from(["sgd", "rowwise_adagrad", "adam", "muon"]),
        "zipf_exponent": st.floats(1e-6, 4),
        "candidates": _number(1e-12, 1e27),
    },
)
training = st.fixed_dictionaries(
    {},
    optional={
        "samples": big,
        "tokens": big,
        "bytes_per_sample": time,
        "global_batch": whole,
        "finish_within": st.one_of(usual, time),
        "precision": st.sampled_from(["bf16", "fp32", "fp4"]),
    },
)
serving = st.fixed_dictionaries(
    {"requests_per_s": time},
    optional={"deadline": st.one_of(usual, time), "availability": st.floats(0, 0.999999)},
)
agents = st.fixed_dictionaries(
    {"count": whole, "control_period": st.one_of(usual, time)},
    optional={
        "perceive_time": seconds,
        "decide_time": seconds,
        "round_trip": seconds,
        "best_round_trip": seconds,
        "edge_round_trip": seconds,
        "link_may_fail": st.booleans(),
        "longest_outage": seconds,
        "tolerable_hold": seconds,
        "decide_apart": st.booleans(),
        "speed": time,
        "sensing_range": time,
        "radius": time,
        "acceleration": time,
        "message_bytes": time,
    },
)
sites = st.fixed_dictionaries(
    {"count": whole, "may_export": st.booleans()},
    optional={
        "records_per_site": big,
        "link": time,
        "link_round_trip": seconds,
        "round_deadline": st.one_of(usual, time),
        "rounds": whole,
        "seconds_per_record": seconds,
        "dropout": st.floats(0, 1, exclude_max=True),
    },
)
model = st.fixed_dictionaries(
    {
        "parameters": _number(1, 1e15),
        "kind": st.sampled_from(["ranker", "vision", "decoder"]),
        "dtype": dtype,
    }
)
fleet = st.fixed_dictionaries(
    {"machine": st.sampled_from(MACHINES)}, optional={"count": st.integers(1, 10**9)}
)
workloads = st.fixed_dictionaries(
    {"fleet": fleet},
    optional={
        "tables": tables,
        "training": training,
        "serving": serving,
        "agents": agents,
        "sites": sites,
        "model": model,
        "corpus": st.fixed_dictionaries({"records": big, "may_leave_site": st.booleans()}),
    },
)


def _check(part: Part) -> None:
    for quantity in part.quantities:
        values = (quantity.low, quantity.value, quantity.high)
        assert all(math.isfinite(value) for value in values), quantity
        assert quantity.low <= quantity.value <= quantity.high, quantity
        assert quantity.because
        assert quantity.source
    assert len({quantity.name for quantity in part.quantities}) == len(part.quantities)
    for shares in (part.busy, part.waiting):
        assert all(math.isfinite(value) and value >= 0 for value in shares.values())
    for bill in part.bills:
        assert math.isfinite(bill.count * bill.usd_per_hour * (bill.hours or 1.0))
    json.dumps(part.layout, allow_nan=False)


def _check_error(error: InfeasibleError) -> None:
    assert error.where
    assert error.hint


@pytest.mark.parametrize("planner", [plan_recommender, plan_swarm, plan_federated])
@given(spec=workloads)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_workload_breaks_a_planner(planner: Any, spec: dict[str, Any]) -> None:
    try:
        workload = Workload.model_validate(spec)
    except ValidationError:
        reject()
    machine = FACTS.machine(workload.fleet.machine)
    try:
        part = planner(workload, machine, FACTS)
    except InfeasibleError as infeasible:
        _check_error(infeasible)
        return
    if part is not None:
        _check(part)
