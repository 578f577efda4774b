"""Backtests: scores by hand, rows of every kind, and predictions blind to the answers."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sextant.facts import load_facts
from sextant.facts.training import load_training_facts
from sextant.laws.machine import constants_of, spread_of
from sextant.plan.backtest import Report, backtest, spearman
from sextant.plan.backtest_figure import page, png, points_of, svg
from sextant.plan.backtest_rows import question

Command = Callable[[list[str]], int]
FACTS, TRAINING = load_facts(), load_training_facts()
MODEL = {
    "layers": 32,
    "hidden": 4096,
    "heads": 32,
    "kv_heads": 8,
    "ffn": 14336,
    "vocab": 128256,
    "sequence": 8192,
    "mlp": "swiglu",
    "tied_embeddings": False,
}
LAYOUT = {
    "tp": 2,
    "pp": 1,
    "dp": 8,
    "cp": 1,
    "interleave": 1,
    "micro_batch": 1,
    "global_batch": 128,
    "zero": 1,
    "recompute": "none",
    "sequence_parallel": True,
}


def row(name: str, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": name,
        "source": "a test",
        "case": "one",
        "machine": "h100-80gb-sxm",
        "gpus": 16,
        "gpus_per_node": 8,
        "node_link_bytes_per_s": 400e9,
        "model": dict(MODEL),
        "layout": dict(LAYOUT),
        "precision": "bf16",
        "measured": {"step_s": 6.0},
        "notes": "none",
    }
    found.update(changes)
    return found


def score(rows: list[Any]) -> Report:
    return backtest(rows, FACTS, TRAINING, constants_of(TRAINING), spread_of(TRAINING))


def test_a_row_is_predicted_with_an_interval() -> None:
    found = score([row("a")])
    said = found.predictions["a"]
    assert 3.0 < said["step_s"] < 12.0
    assert said["step_s_low"] < said["step_s"] < said["step_s_high"]
    assert said["out_of_memory"] is False
    assert found.cases[0].n == 1
    assert found.cases[0].mean_error == pytest.approx(abs(said["step_s"] / 6.0 - 1.0))


VARIANTS: list[dict[str, Any]] = [
    {"machine": name}
    for name, machine in FACTS.machines.items()
    if machine.kind == "accelerator-node"
]
VARIANTS += [{"precision": p} for p in ("bf16", "fp16", "fp8", "fp4", "fp32")]
VARIANTS += [
    {"model": {**MODEL, **more}}
    for more in (
        {"sliding_window": 1024, "sliding_window_layers": 16},
        {"experts": 64, "active_experts": 4, "expert_ffn": 2048, "shared_experts": 1},
        {
            "attention": "mla",
            "query_rank": 1536,
            "kv_rank": 512,
            "rope_head_dim": 64,
            "value_head_dim": 128,
            "head_dim": 128,
        },
        {"mtp_layers": 1},
        {"learned_positions": True, "biases": True, "mlp": "gelu"},
        {"head_dim": 256, "parameters": 8e9},
    )
]
VARIANTS += [
    {"layout": {**LAYOUT, **more}}
    for more in (
        {"zero": 3, "recompute": "selective", "compiled": True},
        {"optimizer_offload": True},
        {"tensor_parallel_overlap": True, "fused_cross_entropy": True},
        {"gradient_dtype": "fp32"},
        {"recompute": "full", "embeddings_as_layers": False},
    )
]
VARIANTS += [{"node_link_bytes_per_s": None}, {"gpus_per_node": 72, "machine": "gb200-nvl72"}]
VARIANTS += [{"precision_detail": "mx", "composed": True, "attention_flops": "causal"}]


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


def test_rank_correlation_by_hand() -> None:
    a, b = np.array([1.0, 2.0, 3.0, 4.0]), np.array([10.0, 30.0, 20.0, 40.0])
    assert spearman(a, b) == pytest.approx(0.8)  # 1 - 6 * 2 / (4 * 15)
    assert spearman(a, -b) == pytest.approx(-0.8)
    assert spearman(a[:2], b[:2]) is None
    tied = np.array([1.0, 1.0, 2.0])
    assert spearman(tied, tied) == pytest.approx(1.0)


def test_regret_and_memory_by_hand() -> None:
    slow = {**LAYOUT, "recompute": "full"}
    rows = [
        row("fast", choice_set="c", measured={"step_s": 5.5}),
        row("slow", choice_set="c", layout=slow, measured={"step_s": 5.0}),
        row("full", gpus=1, layout={**LAYOUT, "tp": 1, "dp": 1}, measured={"out_of_memory": True}),
    ]
    found = score(rows).cases[0]
    assert found.regret == pytest.approx(0.1)
    assert found.oom_recall == 1.0
    assert found.oom_precision == 1.0
    assert found.rank_correlation is None
    assert found.memory_mean_error is None


def test_the_one_constant_baseline_is_perfect_where_one_constant_is_true() -> None:
    rows = [
        row(f"r{n}", layout={**LAYOUT, "global_batch": 128 * n}, measured={"step_s": 5.0 * n})
        for n in (1, 2, 4)
    ]
    assert score(rows).cases[0].baseline_error == pytest.approx(0.0, abs=1e-12)


def test_the_figure_is_whole_in_every_kind() -> None:
    rows = [row("a"), row("b & <c>", case="two", measured={"step_s": 40.0})]
    points = points_of(score(rows).rows)
    assert len(points) == 2
    drawn = svg(points)
    assert drawn.count("<circle") == 2 + 2
    assert "&lt;c&gt;" in drawn
    assert "http" not in drawn.replace("http://www.w3.org/2000/svg", "")
    assert page(points).startswith("<!doctype html>")
    assert png(points).startswith(b"\x89PNG")
    assert svg([])


def test_the_command_writes_what_it_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sextant: Command
) -> None:
    unmeasured = row("open")
    del unmeasured["measured"]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([row("a"), row("b", machine="abacus"), unmeasured]))
    said, figure = tmp_path / "said.json", tmp_path / "scatter.svg"
    arguments = ["backtest", str(path), "--predictions", str(said), "--figure", str(figure)]
    assert sextant([*arguments, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert set(printed["cases"][0]) == {
        "case",
        "n",
        "mean_error",
        "bias",
        "baseline_error",
        "rank_correlation",
        "regret",
        "oom_precision",
        "oom_recall",
        "interval_coverage",
        "memory_mean_error",
    }
    assert [r["id"] for r in printed["rows"]] == ["a", "open"]
    assert printed["unpredictable"][0]["id"] == "b"
    predictions = json.loads(said.read_text())
    assert set(predictions) == {"a", "open"}
    assert set(predictions["a"]) == {
        "step_s",
        "step_s_low",
        "step_s_high",
        "peak_memory_bytes",
        "out_of_memory",
    }
    assert figure.read_text().startswith("<svg")
    assert sextant(arguments) == 0
    assert "abacus" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "{}", '"a"', "[1, 2"])
def test_a_file_that_is_no_list_of_rows_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sextant: Command, text: str
) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    assert sextant(["backtest", str(path)]) == 2
    assert "error:" in capsys.readouterr().err


def test_a_missing_file_and_a_wrong_figure_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sextant: Command
) -> None:
    assert sextant(["backtest", str(tmp_path / "none.json")]) == 2
    path = tmp_path / "rows.json"
    path.write_text("[]")
    assert sextant(["backtest", str(path), "--figure", "a.gif"]) == 2
    assert sextant(["backtest", str(path)]) == 0
    assert "0 rows predicted" in capsys.readouterr().out


@pytest.mark.parametrize("attention", ["full", "causal"])
@pytest.mark.parametrize("figure", ["tokens", "model_flops", "hardware_flops", "mfu", "hfu"])
@pytest.mark.parametrize("recompute", ["none", "full"])
def test_a_throughput_alone_is_scored_as_its_step_time(
    figure: str, attention: str, recompute: str
) -> None:
    layout = {**LAYOUT, "recompute": recompute}
    one = row("a", layout=layout, attention_flops=attention)
    asked = question(one, FACTS, TRAINING)
    each = asked.shape.flops_per_token()
    each -= asked.shape.attention_flops_per_token() / 2.0 if attention == "causal" else 0.0
    each *= 4.0 / 3.0 if recompute == "full" and figure in ("hardware_flops", "hfu") else 1.0
    rate = 128 * 8192 / 16 / 5.0 * (1.0 if figure == "tokens" else each)
    name = figure if figure in ("mfu", "hfu") else f"{figure}_per_s_per_gpu"
    rate /= asked.accelerator.peak("bf16") if figure in ("mfu", "hfu") else 1.0
    implied = score([{**one, "measured": {name: rate}}])
    stated = score([{**one, "measured": {"step_s": 5.0}}])
    assert implied.rows[0]["measured"]["step_s"] == pytest.approx(5.0)
    assert implied.cases[0].mean_error == pytest.approx(stated.cases[0].mean_error)
    assert implied.predictions == stated.predictions


HOSTILE: tuple[Any, ...] = (
    "x", -1, 1.5, float("nan"), float("inf"), 10**400, 10**30, [], {}, True, None, "\ud800[/x]"
)  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:12])
def test_hostile_rows_end_in_a_score_or_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sextant: Command, value: Any
) -> None:
    one = row("r", choice_set="c")
    bad = [{**one, key: value} for key in one]
    for part in ("model", "layout", "measured"):
        keys = (*one[part], "experts", "head_dim", "ep", "mfu", "out_of_memory")
        bad += [{**one, part: {**one[part], key: value}} for key in keys]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([*bad, {}, value, row("good")]))
    assert sextant(["backtest", str(path), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert "good" in {r["id"] for r in printed["rows"]}
    assert sextant(["backtest", str(path), "--figure", str(tmp_path / "a.svg")]) == 0
