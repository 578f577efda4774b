"""Backtests: scores by hand, and the figure."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.laws.machine import constants_of, spread_of
from sextant.plan.backtest import report, spearman
from sextant.plan.backtest_figure import page, png, points_of, svg
from sextant.plan.backtest_rows import question
from sextant.plan.predictions import batch, predict

from .runs import FACTS, LAYOUT, TRAINING, row, score


def test_a_row_is_predicted_with_an_interval() -> None:
    found = score([row("a")])
    said = found.predictions["a"]
    assert 3.0 < said["step_s"] < 12.0
    assert said["step_s_low"] < said["step_s"] < said["step_s_high"]
    assert said["out_of_memory"] is False
    assert found.cases[0].n == 1
    assert found.cases[0].mean_error == pytest.approx(abs(said["step_s"] / 6.0 - 1.0))


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


def test_a_pick_that_runs_out_of_memory_is_a_run_lost() -> None:
    rows = [
        row("ran", choice_set="c", layout={**LAYOUT, "recompute": "full"}),
        row("gone", choice_set="c", measured={"out_of_memory": True}),
    ]
    # The law takes the second for the faster and for one that fits.
    assert score(rows).cases[0].regret == 1.0
    rows[1]["gpus"], rows[1]["layout"] = 1, {**LAYOUT, "tp": 1, "dp": 1}
    assert score(rows).cases[0].regret == 0.0


@given(st.lists(st.floats(0.01, 100.0), min_size=2, max_size=12))
def test_the_best_constant_is_as_good_as_any_that_is_tried(rates: list[float]) -> None:
    rows = [row(str(i), measured={"step_s": 6.0 / rate}) for i, rate in enumerate(rates)]
    tried = [np.mean([abs(rate / other - 1.0) for rate in rates]) for other in rates]
    assert score(rows).cases[0].baseline_error == pytest.approx(min(tried))


def test_many_rows_are_predicted_and_scored_in_seconds() -> None:
    rows = [row(str(n), measured={"step_s": 5.0 + n % 7}) for n in range(20_000)]
    asked = batch(rows, FACTS, TRAINING)
    before = time.process_time()
    made = predict(asked, constants_of(TRAINING), spread_of(TRAINING))
    assert report(asked, made).cases[0].n == 20_000
    assert time.process_time() - before < 4.0


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


def test_intervals_of_memory_are_scored_too() -> None:
    said = score([row("a")]).predictions["a"]["peak_memory_bytes"]
    rows = [row(n, measured={"peak_memory_bytes": said * f}) for n, f in (("in", 1.05), ("out", 2))]
    assert score(rows).cases[0].memory_interval_coverage == 0.5
    assert score([row("a")]).cases[0].memory_interval_coverage is None
