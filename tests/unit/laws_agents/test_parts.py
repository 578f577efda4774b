"""The recommender's, the swarm's and the federation's part of a plan."""

from __future__ import annotations

import math
from typing import Any

import pytest

from sextant.axes import Axis
from sextant.errors import InfeasibleError
from sextant.facts import Facts, Machine
from sextant.plan.federated import plan_federated
from sextant.plan.part import Part
from sextant.plan.recommender import plan_recommender
from sextant.plan.swarm import plan_swarm
from sextant.workload import Workload

RECOMMENDER: dict[str, Any] = {
    "tables": {"rows": "2x10^9", "dims": 128, "optimizer": "rowwise_adagrad"},
    "model": {"ranker": {"kind": "ranker", "parameters": 50e6}},
    "training": {"samples": 1e12, "bytes_per_sample": "1 kB", "finish_within": "1 day"},
    "serving": {"requests_per_s": 1e6, "deadline": "100 ms", "availability": 0.9999},
}
SWARM: dict[str, Any] = {
    "agents": {
        "count": 50,
        "control_period": "50 ms",
        "perceive_time": "20 ms",
        "decide_time": "10 ms",
        "round_trip": "100 ms",
        "best_round_trip": "50 ms",
        "edge_round_trip": "8 ms",
        "link_may_fail": True,
        "sensing_range": "8 m",
        "speed": "8 m/s",
    }
}
FEDERATED: dict[str, Any] = {
    "sites": {"count": 20, "records_per_site": 10_000, "may_export": False},
    "model": {"kind": "vision", "parameters": 8e6, "dtype": "fp32"},
}


def _values(part: Part | None) -> dict[str, float]:
    assert part is not None
    return {quantity.name: quantity.value for quantity in part.quantities}


def _changed(spec: dict[str, Any], table: str, **fields: Any) -> Workload:
    return Workload.model_validate({**spec, table: {**spec.get(table, {}), **fields}})


def test_parts_are_absent_without_their_tables(facts: Facts, h100: Machine) -> None:
    empty = Workload.model_validate({"corpus": {"records": 10}})
    for plan in (plan_recommender, plan_swarm, plan_federated):
        assert plan(empty, h100, facts) is None
    talkers = Workload.model_validate({"agents": {"count": 4, "decide_apart": True}})
    assert plan_swarm(talkers, h100, facts) is None
    islands = Workload.model_validate({"sites": {"count": 8}})
    assert plan_federated(islands, h100, facts) is None


def test_the_recommender_of_the_book(facts: Facts, h100: Machine) -> None:
    part = plan_recommender(Workload.model_validate(RECOMMENDER), h100, facts)
    values = _values(part)
    assert values["table_bytes"] == 1.024e12
    assert values["tables_total_bytes"] == 1.024e12 + 2e9 * 4
    usable = h100.accelerator_memory_bytes * facts.value("table_usable_share")
    assert values["num_shards"] == math.ceil(1.032e12 / usable)
    assert values["rows_touched_per_step"] == 65_536 * 100
    assert values["gather_bytes_per_step"] == 65_536 * 100 * 512
    assert values["training_days"] <= 1.0
    assert part is not None
    assert part.hardest.axis is Axis.MODEL
    assert part.striking.number == "1.024 TB of embeddings"
    assert "2 billion rows x 128 dims x 4 B = 1.024 TB" in part.striking.because


def test_adam_keeps_two_numbers_an_element(facts: Facts, h100: Machine) -> None:
    values = _values(
        plan_recommender(_changed(RECOMMENDER, "tables", optimizer="adam"), h100, facts)
    )
    assert values["tables_total_bytes"] == 3 * 1.024e12


def test_a_small_table_stays_whole(facts: Facts, h100: Machine) -> None:
    values = _values(plan_recommender(_changed(RECOMMENDER, "tables", rows=1e6), h100, facts))
    assert values["num_shards"] == 1


@pytest.mark.parametrize(
    ("table", "fields", "constraint"),
    [
        ("fleet", {"count": 1}, "memory"),
        ("training", {"samples": 1e15}, "training time"),
        ("serving", {"deadline": "100 us"}, "latency"),
    ],
)
def test_an_impossible_recommender_names_its_constraint(
    facts: Facts, h100: Machine, table: str, fields: dict[str, Any], constraint: str
) -> None:
    with pytest.raises(InfeasibleError, match=constraint):
        plan_recommender(_changed(RECOMMENDER, table, **fields), h100, facts)


def test_the_swarm_of_the_book(facts: Facts, drone: Machine) -> None:
    part = plan_swarm(Workload.model_validate(SWARM), drone, facts)
    values = _values(part)
    assert values["control_budget_left_s"] == 0.02
    assert values["edge_perceive_and_plan_s"] == 0.042
    assert values["cloud_perceive_and_plan_s"] == -0.05
    assert values["onboard_max_safe_speed_m_per_s"] > values["edge_max_safe_speed_m_per_s"]
    assert part is not None
    assert part.layout["brain"] == "onboard"
    assert part.hardest.axis is Axis.INTELLIGENCE
    placements: Any = part.layout["placements"]
    assert placements["onboard"]["single_points_of_failure"] == []
    assert placements["edge"]["single_points_of_failure"]
    assert any("lease" in risk for risk in part.risks)


def test_a_slow_loop_may_be_decided_by_a_centre(facts: Facts, drone: Machine) -> None:
    slow = _changed(
        SWARM,
        "agents",
        control_period="2 s",
        longest_outage="300 ms",
        tolerable_hold="400 ms",
    )
    part = plan_swarm(slow, drone, facts)
    assert part is not None
    assert part.layout["brain"] == "cloud"
    assert any("single point of failure" in risk for risk in part.risks)
    assert part.hardest.axis is Axis.COORDINATION


def test_a_period_shorter_than_thinking_is_infeasible(facts: Facts, drone: Machine) -> None:
    with pytest.raises(InfeasibleError, match="control period"):
        plan_swarm(_changed(SWARM, "agents", control_period="25 ms"), drone, facts)


def test_the_federation(facts: Facts, h100: Machine) -> None:
    part = plan_federated(Workload.model_validate(FEDERATED), h100, facts)
    values = _values(part)
    assert values["bytes_per_round"] == 20 * 2 * 8e6 * 4
    assert values["patient_bytes_leaving"] == 0.0
    assert values["epsilon"] == pytest.approx(8.0)
    assert values["round_s"] > values["local_epoch_s"]
    assert part is not None
    refused: Any = part.layout["refused"]
    assert "images never leave" in refused["what"]
    assert part.hardest.axis is Axis.COORDINATION


def test_a_deadline_shorter_than_the_transfer_is_infeasible(facts: Facts, h100: Machine) -> None:
    with pytest.raises(InfeasibleError, match="there and back"):
        plan_federated(_changed(FEDERATED, "sites", round_deadline="1 s"), h100, facts)


def test_a_deadline_that_nobody_meets_is_infeasible(facts: Facts, h100: Machine) -> None:
    late = _changed(FEDERATED, "sites", round_deadline="6 s", seconds_per_record="10 s")
    with pytest.raises(InfeasibleError, match="expected to answer"):
        plan_federated(late, h100, facts)


def test_a_tight_deadline_loses_sites(facts: Facts, h100: Machine) -> None:
    loose = _values(plan_federated(Workload.model_validate(FEDERATED), h100, facts))
    tight = _values(
        plan_federated(_changed(FEDERATED, "sites", round_deadline="90 s"), h100, facts)
    )
    assert tight["sites_answering"] < loose["sites_answering"]
    assert tight["round_s"] == 90.0
