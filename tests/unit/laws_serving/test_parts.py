"""The planners: their numbers, their refusals, and any workload at all."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings

from sextant.axes import Axis
from sextant.errors import InfeasibleError
from sextant.facts import load_facts
from sextant.plan.part import Part
from sextant.plan.quantity import Quantity
from sextant.plan.retrieval import plan_retrieval
from sextant.plan.serving import plan_serving
from sextant.plan.streams import plan_streams
from sextant.workload import Workload

from .specs import rag, workloads

FACTS = load_facts()
PLANNERS = (plan_retrieval, plan_serving, plan_streams)


def parts(workload: Workload) -> dict[str, Part]:
    machine = FACTS.machine(workload.fleet.machine)
    found = [plan(workload, machine, FACTS) for plan in PLANNERS]
    return {part.name: part for part in found if part is not None}


def planned(workload: Workload) -> tuple[dict[str, Part], InfeasibleError | None]:
    try:
        return parts(workload), None
    except InfeasibleError as error:
        return {}, error


def numbers(part: Part) -> dict[str, float]:
    return {q.name: q.value for q in part.quantities}


def check(part: Part) -> None:
    """No number is infinite or missing, and each says where it is from."""
    names = [q.name for q in part.quantities]
    assert len(names) == len(set(names))
    for q in part.quantities:
        assert isinstance(q, Quantity)
        assert all(math.isfinite(x) for x in (q.value, q.low, q.high)), q
        assert 0.0 <= q.low <= q.value <= q.high, q
        assert q.because, q
        assert q.source, q
        assert not any(word in q.because for word in ("nan", "inf ", "unbounded")), q
    for seconds in (*part.busy.values(), *part.waiting.values()):
        assert math.isfinite(seconds)
        assert seconds >= 0.0
    for bill in part.bills:
        assert math.isfinite(bill.count)
        assert bill.count > 0
    if part.budget is not None:
        assert all(0.0 <= s.seconds < math.inf for s in part.budget.stages)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(workloads)
def test_any_workload_is_planned_or_refused(workload: Workload) -> None:
    found, refusal = planned(workload)
    if refusal is not None:
        assert refusal.where
        assert refusal.hint
        assert "nan" not in refusal.what
    names: list[str] = []
    for part in found.values():
        check(part)
        names += [q.name for q in part.quantities]
    assert len(names) == len(set(names)), "two planners give one name"


def test_web_scale_rag() -> None:
    found = parts(rag())
    assert set(found) == {"retrieval", "serving"}
    got = numbers(found["retrieval"])
    assert got["index_raw_bytes"] == pytest.approx(30.72e12)
    assert got["bytes_per_vector_hnsw"] == 3328
    assert 24 <= got["num_shards"] <= 999
    assert got["lost_shard_recall"] == pytest.approx(1 / got["num_shards"])
    assert 1e-3 < got["retrieval_p99_s"] < 50e-3
    assert got["kv_bytes_per_token"] == 327_680
    assert got["tensor_parallel"] >= 4
    assert got["query_p99_s"] >= got["query_p50_s"] >= got["answer_s"]
    assert found["retrieval"].striking.number == "30.72 TB of raw vectors"
    assert found["retrieval"].hardest.axis is Axis.COORDINATION
    forms = found["retrieval"].layout["servers_to_hold_by_form"]
    assert isinstance(forms, dict)
    assert forms["flat"] == math.ceil(30.72e12 / (0.6 * 2.048e12))


def test_the_budget_is_kept() -> None:
    budget = parts(rag())["retrieval"].budget
    assert budget is not None
    assert sum(s.seconds for s in budget.stages) <= budget.allowed_s


@pytest.mark.parametrize("vectors", [1e3, 1e6])
def test_a_small_index_is_one_shard(vectors: float) -> None:
    part = parts(rag(index={"vectors": vectors, "dims": 384}))["retrieval"]
    assert numbers(part)["num_shards"] == 1
    assert part.layout["shards"] == 1
    assert str(part.layout["index"]).startswith(("flat", "HNSW"))


def test_exact_search_is_flat_and_may_be_refused() -> None:
    small = parts(rag(index={"vectors": 1e6, "recall": 1.0}))["retrieval"]
    assert str(small.layout["index"]).startswith("flat")
    with pytest.raises(InfeasibleError, match="deadline"):
        parts(rag(index={"recall": 1.0}))


def test_more_vectors_take_more_shards_and_bytes() -> None:
    sizes = [numbers(parts(rag(index={"vectors": n}))["retrieval"]) for n in (1e6, 1e8, 1e10, 1e12)]
    for name in ("index_bytes", "num_shards", "num_machines"):
        values = [found[name] for found in sizes]
        assert values == sorted(values), name


def test_more_questions_take_more_replicas_not_shards() -> None:
    few, many = (
        numbers(parts(rag(serving={"requests_per_s": rate}))["retrieval"]) for rate in (10, 1e5)
    )
    assert few["num_shards"] == many["num_shards"]
    assert few["num_replicas"] < many["num_replicas"]
    assert few["answer_replicas"] < many["answer_replicas"]


def test_refusals_name_the_constraint() -> None:
    with pytest.raises(InfeasibleError, match="deadline") as late:
        parts(rag(serving={"deadline": 1e-3}))
    assert late.value.where == "serving.deadline"
    with pytest.raises(InfeasibleError, match="machines") as few:
        parts(rag(fleet={"machine": "h100", "count": 2}))
    assert few.value.where == "fleet.count"
    huge = Workload.model_validate(
        {"model": {"m": {"parameters": 1e15}}, "serving": {"requests_per_s": 1}}
    )
    with pytest.raises(InfeasibleError, match="fits no layout"):
        parts(huge)


MOE = {
    "model": {
        "m": {
            "parameters": 671e9,
            "active_parameters": 37e9,
            "layers": 61,
            "hidden": 7168,
            "heads": 128,
            "experts": 256,
            "active_experts": 8,
            "expert_ffn": 2048,
            "dense_layers": 3,
            "attention": "mla",
            "dtype": "fp8",
        }
    },
    "serving": {"requests_per_s": 500, "deadline": 30},
    "fleet": {"machine": "h200"},
}


def test_mixture_of_experts() -> None:
    part = parts(Workload.model_validate(MOE))["serving"]
    got = numbers(part)
    assert got["weight_bytes"] == pytest.approx(671e9)
    assert got["expert_parallel"] >= 8
    assert got["kv_bytes_per_token"] == 70_272
    assert 0.5 < got["touched_experts_fraction"] <= 1.0
    assert got["all_to_all_s"] < got["decode_token_s"]
    assert part.hardest.axis is Axis.MODEL
    assert part.striking.number == "37 billion of 671 billion parameters for each token"
    check(part)


def test_agents_compound() -> None:
    workload = rag(
        serving={"steps": 8, "deadline": 120},
        agents={"count": 4, "decide_apart": True},
    )
    found = parts(workload)
    part = found["serving"]
    assert part.hardest.axis is Axis.INTELLIGENCE
    assert part.busy[Axis.INTELLIGENCE] > 0
    assert numbers(part)["task_success_fraction"] == pytest.approx(0.95**8)
    got = numbers(found["retrieval"])
    assert got["query_p50_s"] >= 8 * got["answer_s"]


def test_live_moderation() -> None:
    workload = Workload.model_validate(
        {
            "streams": {"count": 2e5, "bytes_per_s": 312.5e3, "seconds_per_second": 0.01},
            "index": {"vectors": 2e9, "dims": 512, "k": 20},
            "model": {"judge": {"parameters": 72e9}},
            "serving": {"requests_per_s": 2000, "deadline": 2, "prompt_tokens": 1500},
        }
    )
    found = parts(workload)
    got = numbers(found["streams"])
    assert got["ingest_bytes_per_s"] == pytest.approx(62.5e9)
    assert got["streams_per_machine"] == pytest.approx(8 * 0.7 / 0.01)
    assert got["num_stream_machines"] == math.ceil(2e5 / 560)
    assert got["flag_p50_s"] <= got["flag_p99_s"] <= 2.0
    assert found["streams"].hardest.axis is Axis.COORDINATION
    assert "merge" in found["streams"].hardest.what
    assert "query_p99_s" in numbers(found["retrieval"])
    names = [s.name for s in found["streams"].budget.stages] if found["streams"].budget else []
    assert {"buffer frames", "decode", "embed", "look up", "merge", "verdict"} <= set(names)


def test_a_short_deadline_shortens_the_buffer() -> None:
    streams = {"count": 100, "seconds_per_second": 0.01}
    spec = {"streams": streams, "serving": {"requests_per_s": 1, "deadline": 0.1}}
    got = numbers(parts(Workload.model_validate(spec))["streams"])
    assert got["buffer_s"] < 0.1
    assert got["flag_p99_s"] <= 0.1
    spec["serving"] = {"requests_per_s": 1, "deadline": 1e-3}
    with pytest.raises(InfeasibleError, match="buffer"):
        parts(Workload.model_validate(spec))


def test_absent_tables_give_no_part() -> None:
    assert parts(Workload.model_validate({"corpus": {"records": 10}})) == {}
    ranked = {"tables": {"rows": 1e9}, "serving": {"requests_per_s": 1}}
    assert parts(Workload.model_validate(ranked)) == {}


def test_no_name_twice_beside_an_index() -> None:
    found = parts(rag())
    assert not set(numbers(found["retrieval"])) & set(numbers(found["serving"]))
