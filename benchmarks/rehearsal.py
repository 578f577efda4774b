"""The rehearsal of atlas:web-scale-rag, scaled to this machine: every sight within 30%."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from benchmarks.bench import Figure
from sextant.cli.plan import plan_for
from sextant.cli.rehearse import this_machine
from sextant.cli.specs import load_spec
from sextant.facts import load_facts
from sextant.fleet import Fleet
from sextant.sights import rehearse
from sextant.sights.rehearsal import Rehearsal
from sextant.systems.rag.progress import Silent

_SPEC = "atlas:web-scale-rag"
_OFF = 0.3


def run() -> list[Figure]:
    """One figure a sight, and the lean of the data axis predicted beside measured."""
    seen = rehearsed(_SPEC)
    figures = [
        Figure(
            name=sight.quantity,
            measured=sight.measured,
            unit=sight.unit,
            bar="within 30% of the predicted",
            held=abs(sight.ratio - 1.0) <= _OFF,
            beside={"predicted": sight.predicted, "low": sight.low, "high": sight.high},
        )
        for sight in seen.sights
    ]
    leans = [
        Figure(
            name=f"lean busy {axis}",
            measured=seen.lean_measured.busy.get(axis, 0.0),
            unit="",
            beside={"predicted": share},
        )
        for axis, share in seen.lean_predicted.busy.items()
    ]
    return figures + leans


def rehearsed(spec: str, **how: Any) -> Rehearsal:
    """Rehearses a spec on a fleet of its own, at the machine's pace of this minute.

    Args:
        spec: a TOML file, or `atlas:NAME`.
        how: the corpus and how much of it, as `set_stage` has them.
    """
    here, workload = this_machine(), load_spec(spec)
    stage = rehearse.set_stage(workload, plan_for(spec), here, **how)
    with ExitStack() as stack:

        def start() -> Fleet:
            return stack.enter_context(Fleet.start())

        return rehearse.run_rehearsal(stage, here, load_facts(), start, Silent(), workload=workload)
