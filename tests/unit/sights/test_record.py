"""Run records: predictions first, measurements after, and no way to change one's mind."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sights_plans import QUANTITIES
from sights_runs import MEASURED, PREDICTIONS

from sextant.errors import InputError
from sextant.sights.record import (
    Sight,
    plan_sha256,
    predictions_of,
    read_runs,
    record_path,
    sights_of,
    write_measurements,
    write_predictions,
)


def sight(predicted: float, measured: float, low: float = 0.9, high: float = 1.1) -> Sight:
    return Sight(
        quantity="x_s", predicted=predicted, low=low, high=high, measured=measured, unit="s"
    )


def test_ratio_is_measured_over_predicted() -> None:
    assert sight(2.0, 1.0).ratio == 0.5
    assert sight(0.0, 0.0).ratio == 1.0
    assert sight(0.0, 3.0).ratio == float("inf")


@pytest.mark.parametrize(
    ("measured", "inside"), [(0.9, True), (1.1, True), (0.89, False), (1.11, False)]
)
def test_inside_includes_the_ends(measured: float, inside: bool) -> None:
    assert sight(1.0, measured).inside is inside


def test_the_hash_ignores_order_and_number_type_and_nothing_else() -> None:
    whole = replace(PREDICTIONS[1], predicted=8, low=8, high=8)
    changed = replace(PREDICTIONS[1], high=9.0)
    same = (*PREDICTIONS[2:], whole, PREDICTIONS[0])
    assert plan_sha256(same) == plan_sha256(PREDICTIONS)
    assert plan_sha256((PREDICTIONS[0], changed, *PREDICTIONS[2:])) != plan_sha256(PREDICTIONS)


def test_what_is_not_finite_is_not_recorded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        write_predictions(
            tmp_path / "r.jsonl", [replace(PREDICTIONS[0], high=float("inf"))], at_s=0
        )
    assert not (tmp_path / "r.jsonl").exists()


def test_two_predictions_of_one_quantity_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one quantity"):
        write_predictions(tmp_path / "r.jsonl", [PREDICTIONS[0], PREDICTIONS[0]], at_s=0)


def test_predictions_are_on_disk_before_the_measurements(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "runs.jsonl"
    key = write_predictions(path, PREDICTIONS, at_s=5.0, about={"scale": 0.1})
    (begun,) = read_runs(path)
    assert begun.sights == ()
    assert begun.about == {"scale": 0.1}
    write_measurements(path, key, MEASURED, at_s=9.0, outcome={"lean": {"busy": 1}})
    (ended,) = read_runs(path)
    assert ended.key == key
    assert ended.key.plan_sha256 == plan_sha256(PREDICTIONS)
    assert ended.sights == sights_of(PREDICTIONS, MEASURED)
    assert len(ended.sights) == len(PREDICTIONS)
    assert ended.outcome == {"lean": {"busy": 1}}


def test_runs_of_the_same_predictions_are_kept_apart(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    one = write_predictions(path, PREDICTIONS, at_s=1.0)
    two = write_predictions(path, PREDICTIONS, at_s=2.0)
    assert one.plan_sha256 == two.plan_sha256
    write_measurements(path, one, {"num_shards": 7.0}, at_s=3.0)
    first, second = read_runs(path)
    assert [s.measured for s in first.sights] == [7.0]
    assert second.sights == ()


def test_the_record_only_grows(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    write_predictions(path, PREDICTIONS, at_s=1.0)
    before = path.read_bytes()
    write_predictions(path, PREDICTIONS, at_s=2.0)
    assert path.read_bytes().startswith(before)
    assert path.read_bytes().count(b"\n") == 2


def test_a_line_cut_off_by_a_crash_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    write_predictions(path, PREDICTIONS, at_s=1.0)
    os.truncate(path, path.stat().st_size - 40)
    key = write_predictions(path, PREDICTIONS, at_s=2.0)
    write_measurements(path, key, MEASURED, at_s=3.0)
    (run,) = read_runs(path)
    assert run.at_s == 2.0
    assert len(run.sights) == len(PREDICTIONS)


def test_a_prediction_changed_afterwards_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    write_predictions(path, PREDICTIONS, at_s=1.0)
    row = json.loads(path.read_text())
    row["predictions"][0]["high"] *= 2
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(InputError, match=r"line 1: .*hash"):
        read_runs(path)


@pytest.mark.parametrize("line", ['{"kind": "predicted"}', '{"kind": "measured", "run": 3}'])
def test_a_line_that_lacks_its_parts_is_an_input_error(tmp_path: Path, line: str) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(InputError, match="line 1"):
        read_runs(path)


def test_a_missing_record_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        read_runs(tmp_path / "none.jsonl")


def test_the_record_is_kept_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEXTANT_HOME", str(tmp_path))
    assert record_path() == tmp_path / "runs" / "runs.jsonl"


def test_predictions_are_the_numbers_of_quantities() -> None:
    first = predictions_of(QUANTITIES)[0]
    assert (first.quantity, first.predicted, first.unit) == ("index_raw_bytes", 30.72e12, "B")


@given(st.floats(1e-9, 1e9), st.floats(1, 100), st.floats(1e-9, 1e9))
def test_a_measurement_survives_the_record(
    predicted: float, spread: float, measured: float
) -> None:
    one = sight(predicted, measured, predicted / spread, predicted * spread)
    assert one.inside == (predicted / spread <= measured <= predicted * spread)
    assert one.ratio * predicted == pytest.approx(measured)
