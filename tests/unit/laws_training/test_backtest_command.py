"""`sextant backtest`: what it writes, and what it says of files and rows of every kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .runs import row

Command = Callable[[list[str]], int]


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
        "memory_interval_coverage",
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


@pytest.mark.parametrize("text", ["", "{}", '"a"', "[1, 2", "[" * 100_000], ids=range(5))
def test_a_file_that_is_no_list_of_rows_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sextant: Command, text: str
) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    assert sextant(["backtest", str(path)]) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: {path}: ")
    assert hint.startswith("hint: the file holds a JSON list of runs")


def test_a_missing_file_and_a_wrong_figure_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sextant: Command
) -> None:
    gone = tmp_path / "none.json"
    assert sextant(["backtest", str(gone)]) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error == f"error: {gone}: no such file or directory"
    assert hint.startswith("hint: ")
    path = tmp_path / "rows.json"
    path.write_text("[]")
    assert sextant(["backtest", str(path), "--figure", "a.gif"]) == 2
    nowhere = str(tmp_path / "none" / "a.json")
    capsys.readouterr()
    assert sextant(["backtest", str(path), "--predictions", nowhere]) == 2
    assert "hint: " in capsys.readouterr().err
    assert sextant(["backtest", str(path)]) == 0
    assert "0 rows predicted" in capsys.readouterr().out


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


def test_figures_that_are_no_training_steps_are_scored_beside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sextant: Command
) -> None:
    rate = 1e-7
    given = {"gpus": 16, "gpus_per_node": 8, "failures_per_node_per_s": rate}
    others = [
        {
            "id": "f",
            "kind": "failures",
            "case": "job-mttf",
            "given": given,
            "measured": {"mttf_s": 4e6},
        },
        {"id": "g", "kind": "failures", "case": "job-mttf", "given": {}, "measured": {}},
        {"id": "h", "kind": "wan", "case": "wan-diloco", "given": {}, "measured": {}},
    ]
    first, second = tmp_path / "runs.json", tmp_path / "others.json"
    first.write_text(json.dumps([row("a")]))
    second.write_text(json.dumps(others))
    page = tmp_path / "page.md"
    assert sextant(["backtest", str(first), str(second), "--report", str(page), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["others"][0]["predicted"]["mttf_s"] == pytest.approx(1 / (2 * rate))
    reasons = {one["id"]: one["reason"] for one in printed["unpredictable"]}
    assert reasons == {
        "g": "the row does not give gpus",
        "h": "neither the link nor the time of a step is given",
    }
    assert "| job-mttf | 1 | 1 | 25.0% | +25.0% |" in page.read_text()
    assert sextant(["backtest", str(second)]) == 0
    assert "1 rows predicted, 2 not" in capsys.readouterr().out
