"""Calibration: constants are found again from runs made with them, and held-back error said."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sextant.facts import load_facts
from sextant.facts.training import load_training_facts
from sextant.laws.constants import Constants
from sextant.laws.machine import constants_of, spread_of
from sextant.plan.accuracy import accuracy_page, held_out
from sextant.plan.calibrate import calibrate, evidence, fit, leave_one_source_out
from sextant.plan.predictions import batch, predict

Command = Callable[[list[str]], int]
FACTS, TRAINING = load_facts(), load_training_facts()


def runs(constants: Constants, machine: str = "h100-80gb-sxm") -> list[dict[str, Any]]:
    """Runs "measured" by the laws themselves with constants of our choice."""
    rows: list[dict[str, Any]] = []
    for i, (layers, hidden) in enumerate([(24, 2048), (32, 4096), (40, 5120), (80, 8192)]):
        for tp, micro_batch, zero in [(1, 1, 3), (2, 2, 1), (4, 1, 1), (8, 4, 1)]:
            model = {
                "layers": layers,
                "hidden": hidden,
                "heads": hidden // 128,
                "kv_heads": 8,
                "ffn": hidden * 7 // 2,
                "vocab": 128256,
                "sequence": 4096,
                "mlp": "swiglu",
            }
            layout = {"tp": tp, "dp": 32 // tp, "micro_batch": micro_batch, "zero": zero}
            layout |= {"pp": 1, "global_batch": 512, "interleave": 1}
            rows.append(
                {
                    "id": f"{i}-{tp}",
                    "source": f"source {i % 2}, table {tp}",
                    "case": f"case {i % 2}",
                    "machine": machine,
                    "gpus": 32,
                    "gpus_per_node": 8,
                    "model": model,
                    "layout": layout,
                    "precision": "bf16",
                }
            )
    asked = batch(rows, FACTS, TRAINING)
    for row, said in zip(rows, predict(asked, constants, spread_of(TRAINING)), strict=True):
        row["measured"] = {"step_s": said.step_s, "peak_memory_bytes": said.peak_memory_bytes}
    return rows


SHIPPED = constants_of(TRAINING)
TRUE = replace(SHIPPED, matmul_share=SHIPPED.matmul_share * 0.8, straggler=0.015)


def test_constants_that_made_the_runs_are_found_again() -> None:
    found = calibrate(batch(runs(TRUE), FACTS, TRAINING), TRAINING)
    assert found.rows == 16
    assert found.mean_error < 0.03
    assert found.held_back_error is not None
    assert found.held_back_error < 0.04
    assert found.constants.matmul_share == pytest.approx(TRUE.matmul_share, rel=0.08)
    assert found.moved["matmul_share"] < -1.0


def test_runs_that_agree_move_nothing() -> None:
    found = calibrate(batch(runs(SHIPPED), FACTS, TRAINING), TRAINING)
    assert found.mean_error < 1e-6
    assert all(abs(moved) < 1e-3 for moved in found.moved.values())


def test_one_source_is_left_out_at_a_time() -> None:
    rows = runs(TRUE)
    for row in rows:
        if row["source"].startswith("source 1"):
            row["measured"]["step_s"] *= 3.0
    asked = batch(rows, FACTS, TRAINING)
    found = leave_one_source_out(asked, TRAINING)
    assert set(found) == {"source 0", "source 1"}
    assert found["source 0"].matmul_share < found["source 1"].matmul_share
    made = held_out(asked, TRAINING, spread_of(TRAINING))
    assert [p.id for p in made] == [row["id"] for row in rows]


def test_a_source_does_not_outvote_another() -> None:
    rows = runs(SHIPPED)
    many = [{**one, "id": f"{one['id']} {again}"} for one in rows for again in range(10)]
    known = evidence(batch(many, FACTS, TRAINING))
    assert known.weight.max() < 1.0
    assert (known.weight**2).sum() == pytest.approx(2 * 25.0)


def test_constants_that_are_not_named_stay() -> None:
    known = evidence(batch(runs(TRUE), FACTS, TRAINING))
    found = fit(known, TRAINING, names=("matmul_share",), start="value")
    assert found.matmul_share < SHIPPED.matmul_share
    assert replace(found, matmul_share=SHIPPED.matmul_share) == SHIPPED


def test_the_page_says_scores_constants_and_limits() -> None:
    rows = [*runs(TRUE), {"id": "strange"}]
    asked = batch(rows, FACTS, TRAINING)
    page = accuracy_page(asked, TRAINING, SHIPPED, spread_of(TRAINING), "a command")
    assert "| case 0 | 8 |" in page
    assert "matmul_share" in page
    assert "strange: the row has no machine" in page


def test_the_command_writes_constants_that_backtest_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sextant: Command
) -> None:
    rows, out = tmp_path / "rows.json", tmp_path / "h100.toml"
    rows.write_text(json.dumps([*runs(TRUE), *runs(SHIPPED, "a100-80gb-sxm")]))
    arguments = ["calibrate", str(rows), "--machine", "h100", "--out", str(out)]
    assert sextant([*arguments, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["rows"] == 16
    assert printed["machine"] == "h100-80gb-sxm"
    assert printed["held_back_error"] < 0.04
    written = tomllib.loads(out.read_text())["constant"]
    assert written["matmul_share"]["value"] == pytest.approx(
        printed["constants"]["matmul_share"], rel=1e-5
    )
    assert all(constant["source"] and constant["set_by"] for constant in written.values())
    assert sextant(arguments) == 0
    assert "held back" in capsys.readouterr().out
    assert sextant(["backtest", str(rows), "--constants", str(out), "--json"]) == 0
    cases = json.loads(capsys.readouterr().out)["cases"]
    assert len(cases) == 2


def test_no_run_on_the_machine_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sextant: Command
) -> None:
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps(runs(SHIPPED)))
    out = str(tmp_path / "out.toml")
    assert sextant(["calibrate", str(rows), "--machine", "a100", "--out", out]) == 2
    assert "no measured run on a100-80gb-sxm" in capsys.readouterr().err
    assert sextant(["calibrate", str(rows), "--machine", "abacus", "--out", out]) == 2
