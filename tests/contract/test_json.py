"""What `--json` promises: one object, its keys and types, and the numbers that the design names."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest

from sextant.atlas import NAMES

AXES = ["data", "training", "model", "inference", "coordination", "intelligence"]
CEILINGS = {"data", "model", "compute", "throughput", "latency", "autonomy", "custody"}
Sextant = Callable[..., Any]


# --- map ---


def test_map_has_the_keys_of_the_contract(sextant: Sextant) -> None:
    found = sextant("map", "--json").object
    assert found["axes"] == AXES
    assert list(found["systems"]) == list(NAMES)
    for system in found["systems"].values():
        assert set(system["axes"]) <= set(AXES)
        assert set(system["refused"]) <= set(AXES)
        assert system["ceiling"] in CEILINGS
    assert found["per_axis"] == {
        axis: sum(axis in system["axes"] for system in found["systems"].values()) for axis in AXES
    }
    assert found["per_axis"]["coordination"] == 9


def test_map_has_every_pair_once_and_its_own_overlaps(sextant: Sextant) -> None:
    found = sextant("map", "--json").object
    axes = {name: set(system["axes"]) for name, system in found["systems"].items()}
    assert [(p["a"], p["b"]) for p in found["pairs"]] == list(combinations(NAMES, 2))
    for pair in found["pairs"]:
        assert pair["overlap"] == len(axes[pair["a"]] & axes[pair["b"]])
        assert pair["distance"] == len(axes[pair["a"]] ^ axes[pair["b"]])
    overlaps = [p["overlap"] for p in found["pairs"]]
    for key, bound in (("most_similar", max(overlaps)), ("least_similar", min(overlaps))):
        assert found[key] == [[p["a"], p["b"]] for p in found["pairs"] if p["overlap"] == bound]


def test_map_counts_over_the_rows_shown(sextant: Sextant) -> None:
    found = sextant("map", "--only", "web-scale-rag,drone-swarm", "--json").object
    assert list(found["systems"]) == ["web-scale-rag", "drone-swarm"]
    assert found["per_axis"] == dict(zip(AXES, [1, 0, 1, 2, 2, 1], strict=True))
    assert found["most_similar"] == found["least_similar"] == [["web-scale-rag", "drone-swarm"]]


def test_a_spec_is_a_further_row(sextant: Sextant, spec: Callable[[str], str]) -> None:
    path = spec("name = 'mine'\n[corpus]\nrecords = 1e12")
    found = sextant("map", path, "--only", "web-scale-rag", "--json").object
    assert list(found["systems"]) == ["web-scale-rag", "mine"]
    assert found["systems"]["mine"]["axes"] == ["data", "coordination"]


# --- plan ---


@pytest.mark.parametrize("name", NAMES)
def test_plan_has_the_keys_and_types_of_the_contract(sextant: Sextant, name: str) -> None:
    plan = sextant("plan", f"atlas:{name}", "--json").object
    assert plan["workload"] == name
    assert set(plan["striking"]) >= {"number", "because"}
    assert [step["axis"] for step in plan["order"]][-1] == "coordination"
    assert all(step["because"] for step in plan["order"])
    assert plan["coordinates"]["axes"] == [
        axis for axis in AXES if axis in plan["coordinates"]["axes"]
    ]
    assert set(plan["coordinates"]) == {"axes", "refused"}
    for ceiling in plan["ceilings"]:
        assert ceiling["name"] in CEILINGS
        assert ceiling["axis"] in AXES
        assert isinstance(ceiling["ratio"], float)
        assert ceiling["ratio"] > 1
        assert ceiling["because"]
    assert plan["nearest"]["name"] in set(NAMES) - {name}
    assert isinstance(plan["nearest"]["distance"], int)
    assert plan["hardest"]["axis"] in AXES
    assert plan["hardest"]["what"]
    assert plan["hardest"]["because"]
    assert isinstance(plan["layout"], dict)
    assert set(plan["lean"]) <= set(AXES)
    assert sum(plan["lean"].values()) == pytest.approx(1)
    assert plan["risks"]
    assert all(isinstance(risk, str) for risk in plan["risks"])


@pytest.mark.parametrize("name", NAMES)
def test_quantities_have_value_unit_interval_arithmetic_and_source(
    sextant: Sextant, name: str
) -> None:
    quantities = sextant("plan", f"atlas:{name}", "--json").object["quantities"]
    assert quantities
    for key, quantity in quantities.items():
        assert set(quantity) == {"value", "unit", "low", "high", "because", "source"}, key
        assert all(isinstance(quantity[part], float) for part in ("value", "low", "high")), key
        assert quantity["low"] <= quantity["value"] <= quantity["high"], key
        assert quantity["because"], key
        assert quantity["source"], key


def quantities_of(sextant: Sextant, name: str) -> dict[str, float]:
    plan = sextant("plan", f"atlas:{name}", "--json").object
    return {key: quantity["value"] for key, quantity in plan["quantities"].items()}


def test_the_seeds_of_retrieval(sextant: Sextant) -> None:
    """10^10 x 768 x 4 B = 30.72 TB; dozens to hundreds of shards; some tens of ms."""
    found = quantities_of(sextant, "web-scale-rag")
    assert found["index_raw_bytes"] == 3.072e13
    assert 0 < found["index_bytes"] < 1.2 * found["index_raw_bytes"]
    assert 24 <= found["num_shards"] <= 999
    assert found["retrieval_p99_s"] < 0.1
    assert found["query_p99_s"] > found["retrieval_p99_s"]
    assert found["cost_usd_per_month"] > 0
    assert found["kv_bytes_per_token"] == 2 * 80 * 8 * 128 * 2
    assert found["embed_corpus_s"] > 3600


def test_the_seeds_of_the_recommender(sextant: Sextant) -> None:
    """2x10^9 rows x 128 x 4 B = 1.024 TB, and 4 B a row of row-wise Adagrad."""
    found = quantities_of(sextant, "planetary-recommender")
    assert found["table_bytes"] == 1.024e12
    assert found["tables_total_bytes"] == pytest.approx(1.032e12)
    assert found["num_shards"] >= 13
    assert found["rows_touched_per_step"] == 65_536 * 100
    assert found["unique_rows_per_step"] < found["rows_touched_per_step"]
    assert found["query_p99_s"] < 0.1
    assert found["cost_usd_per_month"] > 0


def test_the_seeds_of_pretraining(sextant: Sextant) -> None:
    """Thousands of accelerators for weeks, so hours between failures of the job."""
    found = quantities_of(sextant, "foundation-pretraining")
    assert found["num_accelerators"] >= 1000
    assert 14 <= found["days"] <= 365
    assert 1800 <= found["mtbf_s"] <= 48 * 3600
    assert 0.5 < found["goodput"] < 1
    assert found["checkpoint_interval_s"] < found["mtbf_s"]
    assert 0 < found["memory_bytes_per_gpu"] < 86e9
    assert found["step_s"] > 0.1
    assert found["cost_usd"] > 1e6
    assert found["failures_per_day"] == pytest.approx(86_400 / found["mtbf_s"])


def test_the_seeds_of_the_swarm(sextant: Sextant) -> None:
    """50 ms less 20 to perceive and 10 to decide on board; 42 ms beside an edge at 8 ms."""
    found = quantities_of(sextant, "drone-swarm")
    assert found["control_budget_left_s"] == pytest.approx(0.020)
    assert found["edge_perceive_and_plan_s"] == pytest.approx(0.042)
    assert found["onboard_max_safe_speed_m_per_s"] > found["cloud_max_safe_speed_m_per_s"]


def test_the_seeds_of_federation(sextant: Sextant) -> None:
    """20 sites x 8 million fp32 parameters, there and back; nothing of a patient leaves."""
    found = quantities_of(sextant, "federated-imaging")
    assert found["bytes_per_round"] == 20 * 8e6 * 4 * 2
    assert found["patient_bytes_leaving"] == 0


def test_the_seeds_of_moderation(sextant: Sextant) -> None:
    plan = sextant("plan", "atlas:live-moderation", "--json").object
    found = plan["quantities"]
    assert plan["nearest"]["name"] == "web-scale-rag"
    assert found["streams_per_machine"]["value"] > 1
    assert found["flag_p99_s"]["value"] < 2.0
    assert found["flag_p50_s"]["value"] < found["flag_p99_s"]["value"]


@pytest.mark.parametrize("name", ["diloco-pretraining", "moe-serving", "agentic-rag"])
def test_the_frontier_has_its_costs(sextant: Sextant, name: str) -> None:
    found = quantities_of(sextant, name)
    assert found.keys() & {"cost_usd", "cost_usd_per_month"}


def test_another_machine_moves_the_plan(sextant: Sextant, spec: Callable[[str], str]) -> None:
    path = spec("[model]\nparameters = 60e9\n[serving]\nrequests_per_s = 0.01")
    small = sextant("plan", path, "--machine", "h100", "--json").object
    large = sextant("plan", path, "--machine", "b200", "--json").object
    assert small["coordinates"]["axes"] == ["model", "coordination"]
    assert large["coordinates"]["axes"] == []
    assert large["nearest"] is None


# --- explain, facts, budget ---


def test_explain_agrees_with_the_plan(sextant: Sextant) -> None:
    plan = sextant("plan", "atlas:web-scale-rag", "--json").object
    one = sextant("explain", "atlas:web-scale-rag", "index_raw_bytes", "--json").object
    assert one["name"] == "index_raw_bytes"
    assert one.items() >= plan["quantities"]["index_raw_bytes"].items()
    assert one["inputs"]["corpus.records"]["source"].startswith("the textbook")


def test_explain_prints_the_arithmetic_and_the_source(sextant: Sextant) -> None:
    out = sextant("explain", "atlas:web-scale-rag", "index_raw_bytes").out
    assert "30.72 TB" in out
    assert "768" in out
    assert "source" in out


def test_facts_list_and_show(sextant: Sextant) -> None:
    every = sextant("facts", "list", "--json").object
    for row in (*every["machines"].values(), *every["rows"].values()):
        assert row["source"]
        assert row["date"]
    machine = sextant("facts", "show", "h100", "--json").object
    assert machine == every["machines"]["h100-80gb-sxm"]
    row = sextant("facts", "show", "edge_round_trip_s", "--json").object
    assert (row["value"], row["unit"]) == (0.008, "s")


def budget(sextant: Sextant, *more: str) -> dict[str, Any]:
    found: dict[str, Any] = sextant("budget", *more, "--json").object
    assert set(found) == {
        "left_s",
        "viable",
        "break_even_round_trip_s",
        "single_points_of_failure",
        "because",
    }
    return found


def test_an_edge_at_8_ms_leaves_42_and_brings_back_a_single_failure(sextant: Sextant) -> None:
    found = budget(sextant, "--period", "50 ms", "--round-trip", "8 ms")
    assert found["left_s"] == pytest.approx(0.042)
    assert found["viable"] is True
    assert found["single_points_of_failure"]
    assert found["because"]


@pytest.mark.parametrize(
    ("options", "left", "viable"),
    [
        (("--period", "50 ms", "--round-trip", "100 ms"), -0.050, False),
        (("--period", "50 ms", "--round-trip", "50 ms"), 0.0, True),
        (("--period", "2 s", "--round-trip", "100 ms"), 1.9, True),
        (("--period", "50 ms", "--round-trip", "8 ms", "--perceive", "20 ms"), 0.022, True),
        (("--period", "50 ms", "--round-trip", "8 ms", "--outage", "1 s"), 0.042, False),
        (("--period", "2 s", "--round-trip", "8 ms", "--outage", "1 s"), 1.992, True),
        (
            ("--period", "50 ms", "--round-trip", "8 ms", "--outage", "1 s", "--hold", "2 s"),
            0.042,
            True,
        ),
    ],
)
def test_a_budget_follows_its_loop(
    sextant: Sextant, options: tuple[str, ...], left: float, viable: bool
) -> None:
    found = budget(sextant, *options)
    assert found["left_s"] == pytest.approx(left)
    assert found["viable"] is viable
    assert bool(found["single_points_of_failure"]) is viable


def test_the_break_even_round_trip_is_where_viable_ends(sextant: Sextant) -> None:
    loop = ("--period", "50 ms", "--perceive", "20 ms", "--decide", "10 ms")
    longest = budget(sextant, *loop, "--round-trip", "1 ms")["break_even_round_trip_s"]
    assert longest == pytest.approx(0.020)
    assert budget(sextant, *loop, "--round-trip", f"{longest * 0.999} s")["viable"]
    assert not budget(sextant, *loop, "--round-trip", f"{longest * 1.001} s")["viable"]
