"""What a rehearsal predicts from unit costs alone, and what a drill is held against."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from sextant.axes import Axis
from sextant.errors import InputError
from sextant.facts import Facts, Machine
from sextant.fleet.fault import Fault
from sextant.fleet.shot import Recovery, Shot
from sextant.plan.quantity import Quantity
from sextant.plan.rehearsal import RetrievalShape, predict_retrieval
from sextant.sights.drilling import LATE_S, judge
from sextant.sights.rehearsal import DrillResult
from sextant.systems.rag.drill import Asked, Drilled

MEASURED = {
    "encoder_bf16_flops_per_s": 4e11,
    "encoder_bf16_short_layer_s": 5e-4,
    "wire_base_s": 5e-4,
    "wire_per_member_s": 2e-4,
    "wire_log_sigma": 0.2,
    "woken_search_s": 1e-4,
    "merge_base_s": 1e-4,
    "merge_per_reply_s": 1e-5,
    "member_start_s": 1.5,
    "member_memory_bytes": 1.2e8,
    "faiss_cached_bytes_per_s": 2e10,
    "faiss_scan_bytes_per_s": 8e9,
    "faiss_fixed_s": 1e-5,
}
SHAPE = RetrievalShape(
    passages=1200,
    shards=8,
    dims=384,
    k=10,
    layers=6,
    hidden=384,
    ffn=1536,
    passage_tokens=180.0,
    precision="bf16",
    clients=4,
    questions=400,
)
DEADLINE_S = 0.2
SHARDS = 8


def machine(measured: dict[str, float]) -> Machine:
    return Machine(
        name="here",
        title="two cores",
        kind="server",
        accelerators=0,
        accelerator_memory_bytes=0.0,
        accelerator_bandwidth_bytes_per_s=0.0,
        peak_flops_per_s={"bf16": 5e11},
        fast_link_bytes_per_s=0.0,
        fast_domain=1,
        cores=2,
        memory_bytes=8e9,
        memory_bandwidth_bytes_per_s=1e10,
        disk_bytes=5e10,
        disk_bandwidth_bytes_per_s=3e8,
        network_bytes_per_s=2e9,
        price_usd_per_hour=0.0,
        source="a test",
        date="2026-11-22",
        measured=measured,
    )


def predicted(shape: RetrievalShape, facts: Facts) -> dict[str, Quantity]:
    quantities, _ = predict_retrieval(shape, machine(MEASURED), facts)
    assert len({q.name for q in quantities}) == len(quantities)
    return {q.name: q for q in quantities}


def test_every_quantity_has_a_narrow_interval_around_it(facts: Facts) -> None:
    found = predicted(SHAPE, facts)
    assert len(found) >= 8
    assert sum(q.unit in ("s", "/s") for q in found.values()) >= 4
    for name, q in found.items():
        assert math.isfinite(q.value), name
        assert 0 < q.low <= q.value <= q.high <= 2.5 * q.low, name
        assert q.because, name
        assert q.source, name


def test_sizes_and_recall_are_arithmetic(facts: Facts) -> None:
    found = predicted(SHAPE, facts)
    assert found["index_raw_bytes"].value == 1200 * 384 * 4
    assert found["recall_without_a_shard"].value == pytest.approx(7 / 8)


def test_the_shares_of_the_lean_sum_to_one(facts: Facts) -> None:
    _, lean = predict_retrieval(SHAPE, machine(MEASURED), facts)
    for shares in (lean.busy, lean.waiting):
        assert sum(shares.values()) == pytest.approx(1.0)
        assert all(0 <= share <= 1 for share in shares.values())
    assert {Axis.DATA, Axis.INFERENCE} <= set(lean.busy)


def test_more_shards_fan_out_more_slowly(facts: Facts) -> None:
    fan_outs = [
        predicted(replace(SHAPE, shards=shards), facts)["fan_out_s"].value
        for shards in (1, 2, 4, 8)
    ]
    assert fan_outs == sorted(set(fan_outs))


def test_one_process_starts_on_one_core_and_a_merge_has_a_fixed_part(facts: Facts) -> None:
    one, two, eight = (predicted(replace(SHAPE, shards=n), facts) for n in (1, 2, 8))
    start_s = MEASURED["member_start_s"] * facts.value("gang_over_process")
    assert one["gang_ready_s"].value == two["gang_ready_s"].value == start_s
    assert eight["gang_ready_s"].value == 4 * start_s
    few = predicted(replace(SHAPE, shards=1, k=1), facts)["merge_s"].value
    assert few > MEASURED["merge_base_s"]
    assert few < one["merge_s"].value < eight["merge_s"].value < 8 * one["merge_s"].value


@pytest.mark.parametrize(
    "key", ["encoder_bf16_flops_per_s", "wire_base_s", "woken_search_s", "member_memory_bytes"]
)
def test_a_cost_that_was_not_probed_is_named(key: str, facts: Facts) -> None:
    costs = {name: value for name, value in MEASURED.items() if name != key}
    with pytest.raises(InputError, match=key) as caught:
        predict_retrieval(SHAPE, machine(costs), facts)
    assert caught.value.hint is not None
    assert "sextant probe" in caught.value.hint


WHOLE = Asked(at_s=0.0, latency_s=0.01, coverage=1.0, expected_recall=1.0, recall=1.0, missing=())
PARTIAL = replace(
    WHOLE,
    latency_s=DEADLINE_S,
    coverage=7 / 8,
    expected_recall=7 / 8,
    recall=7 / 8,
    missing=("shard/1",),
)
SHOT = Shot(
    fault=Fault.parse("stop:shard/1@500ms+1s"),
    fired_at_s=0.5,
    landed=True,
    why="seen stopped",
    recovery=Recovery(detect_s=0.2, full_s=1.1),
    lost=10,
)


def judged(partial: Sequence[Asked], shot: Shot = SHOT) -> DrillResult:
    answers = [*[WHOLE] * 20, *partial, *[WHOLE] * 20]
    asked = tuple(replace(one, at_s=0.1 * number) for number, one in enumerate(answers))
    drilled = Drilled(asked=asked, shots=(shot,), deadline_s=DEADLINE_S, partial=None)
    return judge(drilled, SHARDS)


def unmet(result: DrillResult) -> list[str]:
    return [e.what for e in result.expectations if not e.held]


def test_a_drill_holds_when_all_is_well() -> None:
    result = judged([PARTIAL] * 10)
    assert result.held
    assert unmet(result) == []
    assert result.lost["partial_answers"] == 10
    assert result.lost["asked"] == len(result.timeline) == 50
    assert result.lost["answers"] == 0
    assert result.lost["partial_for_s"] == pytest.approx(1.0)
    assert (result.recovery.detect_s, result.recovery.full_s) == (0.2, 1.1)
    assert result.faults[0].fired_at_s == 0.5


def test_late_answers_are_held_against_it() -> None:
    on_time = replace(PARTIAL, latency_s=DEADLINE_S + 0.9 * LATE_S)
    assert judged([on_time] * 10).held
    late = judged([replace(PARTIAL, latency_s=DEADLINE_S + 1.5 * LATE_S)] * 10)
    assert not late.held
    (what,) = unmet(late)
    assert "deadline" in what


def test_coverage_that_is_off_is_held_against_it() -> None:
    result = judged([replace(PARTIAL, coverage=0.6)] * 10)
    assert not result.held
    assert unmet(result) == ["coverage without one shard of 8"]


def test_recall_that_is_off_is_held_against_it() -> None:
    result = judged([replace(PARTIAL, recall=0.6)] * 10)
    assert not result.held
    (what,) = unmet(result)
    assert "recall" in what


def test_a_shot_that_did_not_land_is_held_against_it() -> None:
    result = judged([PARTIAL] * 10, replace(SHOT, landed=False, why="it was away"))
    assert not result.held
    assert "stop:shard/1@500ms+1s lands" in unmet(result)
    assert result.faults[0].fired_at_s is None


def test_a_drill_without_partial_answers_is_held_against_it() -> None:
    result = judged([])
    assert not result.held
    assert unmet(result) == ["partial answers while a shard is away"]


@pytest.mark.parametrize(
    "recovery",
    [
        Recovery(detect_s=0.2, full_s=None),
        Recovery(detect_s=None, full_s=1.1),
        Recovery(detect_s=0.2, full_s=30.0),
        Recovery(detect_s=5.0, full_s=1.1),
    ],
)
def test_a_recovery_that_was_slow_or_never_seen_is_held_against_it(recovery: Recovery) -> None:
    result = judged([PARTIAL] * 10, replace(SHOT, recovery=recovery))
    assert not result.held
    assert unmet(result) == ["stop:shard/1@500ms+1s is noticed and healed"]
