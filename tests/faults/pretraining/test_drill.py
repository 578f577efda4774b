"""A drill of a small training: a rank is killed, and the model comes out the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("tokenizers")

from sextant.fleet.fault import Fault
from sextant.sights.training import drill_training
from sextant.systems.pretraining.rehearsal import make_job, small_model


@pytest.mark.soak
def test_a_killed_rank_costs_steps_and_no_bit(tmp_path: Path) -> None:
    model = replace(small_model(ffn_ratio=2.0, heads_per_key=4.0), layers=1, hidden=32, ffn=64)
    text = tmp_path / "text.txt"
    text.write_text("".join(f"The {n % 9} ships of {n} saw {n % 50} gulls.\n" for n in range(4000)))
    job = replace(make_job(model, tmp_path, text, minutes=0.5), steps=16, checkpoint_steps=4)
    seen = drill_training(job, [Fault.parse("kill:rank/1@step=6")])
    assert seen.held, [e for e in seen.expectations if not e.held]
    assert seen.faults[0].fired_at_s is not None
    assert seen.lost["losses"] == 1
    assert seen.recovery.full_s is not None
    assert 0 < seen.recovery.restart_s < seen.recovery.full_s  # type: ignore[operator]
    assert seen.lost["goodput"] < seen.lost["goodput_without"]  # type: ignore[operator]
