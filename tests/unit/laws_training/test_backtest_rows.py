"""Rows of runs: every key is understood, what is wrong is named, answers are never read."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import numpy as np
import pytest

from .runs import LAYOUT, MODEL, VARIANTS, row, score


@pytest.mark.parametrize("changes", VARIANTS, ids=lambda c: json.dumps(c)[:60])
def test_every_key_of_the_format_is_understood(changes: dict[str, Any]) -> None:
    found = score([row("a", **changes)])
    assert not found.unpredictable
    assert np.isfinite(found.predictions["a"]["step_s"])


@pytest.mark.parametrize(
    "bad",
    [
        {"machine": "abacus"},
        {"gpus": 15},
        {"gpus": "many"},
        {"model": {}},
        {"model": {**MODEL, "layers": 0}},
        {"layout": None},
        {"layout": {**LAYOUT, "recompute": "some"}},
        {"layout": {**LAYOUT, "micro_batch": 1.5}},
        {"precision": "int1"},
    ],
    ids=str,
)
def test_a_row_that_cannot_be_predicted_is_listed_and_stops_nothing(bad: dict[str, Any]) -> None:
    found = score([row("good"), row("bad", **bad), 3, None])
    assert set(found.predictions) == {"good"}
    assert set(found.unpredictable) == {"bad", "row 3", "row 4"}
    assert all(found.unpredictable.values())


def test_what_a_row_leaves_open_is_chosen() -> None:
    layout = {k: v for k, v in LAYOUT.items() if k not in ("micro_batch", "interleave", "dp")}
    layout |= {"pp": 4, "tp": 2}
    found = score([row("open", layout=layout)])
    assert "micro_batch=" in found.rows[0]["predicted"]["layout"]
    every = [
        row(f"{m}-{v}", layout={**layout, "micro_batch": m, "interleave": v})
        for m in (1, 2, 4, 8)
        for v in (1, 2, 4, 8)
    ]
    closed = score(every).predictions.values()
    fitting = [p["step_s"] for p in closed if not p["out_of_memory"]]
    assert found.predictions["open"]["step_s"] == pytest.approx(min(fitting))


def test_scrambled_answers_change_no_prediction() -> None:
    generator = random.Random(7)
    rows = [row(f"r{i}", **changes) for i, changes in enumerate(VARIANTS)]
    scrambled = copy.deepcopy(rows)
    for one in scrambled:
        one["measured"] = {"step_s": generator.random() * 100, "mfu": generator.random()}
        one["notes"] = "".join(generator.choices("abcdef ", k=20))
        one["source"] = one["case"] = f"elsewhere {generator.random()}"
        one["derived"] = ["step_s"]
        one["choice_set"] = "any"
    assert score(rows).predictions == score(scrambled).predictions


def test_only_named_rows_carry_names() -> None:
    renamed = [row("x", **changes) for changes in VARIANTS[:3]]
    others = [row("another name", **changes) for changes in VARIANTS[:3]]
    first = [r["predicted"] for r in score(renamed).rows]
    assert first == [r["predicted"] for r in score(others).rows]


@pytest.mark.parametrize("part", ["model", "layout"])
def test_null_is_not_stated(part: str) -> None:
    optional = {
        "model": ("kv_heads", "tied_embeddings", "experts", "head_dim"),
        "layout": ("zero", "recompute", "sequence_parallel", "ep", "interleave", "compiled"),
    }[part]
    one = row("r")
    bare = {key: value for key, value in one[part].items() if key not in optional}
    absent = score([{**one, part: bare}])
    null = score([{**one, part: {**bare, **dict.fromkeys(optional)}}])
    assert null.predictions == absent.predictions


@pytest.mark.parametrize(
    ("part", "key", "value", "reason"),
    [
        ("model", "layers", "many", "layers is not a whole number from 0 to a billion: 'many'"),
        ("model", "hidden", None, "the model has no hidden"),
        ("model", "heads", float("nan"), "heads is not a whole number"),
        ("layout", "tp", [], "tp is not a whole number"),
        ("layout", "compiled", "yes", "compiled is neither true nor false: 'yes'"),
        ("layout", "zero", 4, "no law for ZeRO 4"),
        ("layout", "gradient_dtype", "int8", "no law for gradient_dtype 'int8'"),
        ("model", "attention", "mamba", "no law for attention 'mamba'"),
        ("model", "attention", "mla", "latent attention (mla) without kv_rank"),
        # Contradictions.
        ("layout", "micro_batch", 3, "dp 8 x micro_batch 3 does not divide the global batch"),
        ("layout", "micro_batch", 32, "dp 8 x micro_batch 32 does not divide"),
        ("layout", "ep", 8, "ep 8, but the model has no experts"),
        ("layout", "largest_stage_layers", 50, "largest_stage_layers 50 is more than 32 layers"),
        ("layout", "largest_stage_layers", 8, "1 stages of 8 layers at most do not hold 32"),
        ("layout", "tp", 3, "tp pp dp cp = 24, but the job has 16 GPUs"),
        ("model", "heads", 31, "kv_heads 8 do not divide 31 heads"),
    ],
)
def test_a_reason_names_the_key_and_the_value(
    part: str, key: str, value: object, reason: str
) -> None:
    one = row("r")
    one[part][key] = value
    assert score([one]).unpredictable["r"].startswith(reason)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"layout": {**LAYOUT, "pp": 64, "tp": 1, "dp": 1}, "gpus": 64}, "pp 64 is more than 32"),
        ({"layout": {**LAYOUT, "pp": 8, "dp": 1, "interleave": 5}}, "pp 8 x interleave 5 is more"),
        ({"gpus_per_node": 1000}, "no fast domain has 1000 GPUs"),
        ({"model": {**MODEL, "kv_heads": 3}}, "kv_heads 3 do not divide"),
        ({"model": {**MODEL, "heads": 33, "kv_heads": 11}}, "tp 2 does not divide 33 heads"),
        ({"node_link_bytes_per_s": 3.0}, "node_link_bytes_per_s is not a rate of links"),
    ],
)
def test_a_contradiction_is_refused_with_its_reason(changes: dict[str, Any], reason: str) -> None:
    assert reason in score([row("r", **changes)]).unpredictable["r"]


def test_a_window_without_layers_is_of_all_layers() -> None:
    windowed = {**MODEL, "sliding_window": 256}
    every = {**windowed, "sliding_window_layers": MODEL["layers"]}
    found = score([row("open", model=windowed), row("all", model=every), row("none")])
    assert found.predictions["open"] == found.predictions["all"] != found.predictions["none"]


def test_rows_without_an_id_are_named_by_their_place_and_second_ones_refused() -> None:
    bare = {k: v for k, v in row("x").items() if k != "id"}
    found = score([bare, row("twice"), bare, row("twice", gpus=8), {**bare, "machine": "abacus"}])
    assert set(found.predictions) == {"row 1", "twice", "row 3"}
    assert found.unpredictable["row 4"] == "its id 'twice' is that of row 2"
    assert "abacus" in found.unpredictable["row 5"]
