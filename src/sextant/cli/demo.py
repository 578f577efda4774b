"""`make demo`: all of Sextant once, on the documentation that this Python carries."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sextant.sights.rehearsal import DrillResult

SPEC = "atlas:web-scale-rag"
QUESTIONS = (
    "How does the with statement handle exceptions?",
    "What does a yield expression do?",
    "Which team won the football world cup in 1998?",
)
FAULT = "stop:shard/1@1s+2s"
_MINUTES = 1.5
_DEADLINE_S = 0.2


def main(argv: Sequence[str] | None = None) -> int:
    """Plans, rehearses, asks, drills, and writes `report.html`.

    Returns:
        the exit code, as of every command.
    """
    parser = argparse.ArgumentParser(prog="python -m sextant.cli.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder (demo)")
    out: Path = parser.parse_args(argv).out
    out.mkdir(parents=True, exist_ok=True)
    os.environ["SEXTANT_HOME"] = str((out / "home").resolve())
    from sextant.cli.main import guarded

    return guarded(lambda: _run(out), debug=False)


def _run(out: Path) -> int:
    begun_s = time.monotonic()
    from sextant.cli import main as cli
    from sextant.cli.plan import map_rows, plan_for
    from sextant.cli.rehearse import this_machine
    from sextant.cli.specs import load_spec
    from sextant.facts import load_facts

    _head(1, "the map: nine systems on six axes")
    cli(["map"])
    _head(2, f"the plan of {SPEC}")
    cli(["plan", SPEC])
    workload, plan = load_spec(SPEC), plan_for(SPEC)

    from sextant.fleet import Fault, Fleet
    from sextant.sights import rehearse
    from sextant.sights.report import answers_terminal, print_drill, print_rehearsal, report_page
    from sextant.systems.rag.drawn import drawn
    from sextant.systems.rag.service import open_service

    _head(3, "the rehearsal: the same shape, on this machine, on real documents")
    here = this_machine()
    stage = rehearse.set_stage(workload, plan, here, minutes=_MINUTES)
    with drawn() as progress, ExitStack() as stack:
        fleets: list[Fleet] = []

        def start() -> Fleet:
            fleets.append(stack.enter_context(Fleet.start()))
            return fleets[0]

        seen = rehearse.run_rehearsal(stage, here, load_facts(), start, progress, workload=workload)
        fleet = fleets[0]
        with open_service(stage.index_dir, fleet, embedder=stage.embedder) as service:
            service.warm()
            answers = [rehearse.shown(service.ask(question)) for question in QUESTIONS]
        drilled, partial = rehearse.run_drill(
            stage, fleet, [Fault.parse(FAULT)], deadline_s=_DEADLINE_S, progress=progress
        )
    print_rehearsal(seen)
    from rich.console import Console

    _head(4, "answers with citations, and one that it does not have")
    for answer in answers:
        Console().print(answers_terminal(answer))
    _head(5, "the drill: a shard stalls for two seconds")
    print_drill(drilled)
    if partial is not None:
        print("\nan answer while it was stalled:\n")
        Console().print(answers_terminal(partial))
    shown = [*answers[:2], *([partial] if partial else [])]
    page = report_page(
        plan, seen, title=workload.title, rows=map_rows(plan), drill=drilled, answers=shown
    )
    report = out / "report.html"
    report.write_text(page, encoding="utf-8")
    print(f"\n{report} has it all; the demo took {time.monotonic() - begun_s:.0f} s.")
    _require_held(drilled, report)
    return 0


def _require_held(drilled: DrillResult, report: Path) -> None:
    if drilled.held:
        return
    from sextant.errors import EngineError

    what = "; ".join(e.what for e in drilled.expectations if not e.held)
    raise EngineError(f"the drill did not hold: {what}", hint=f"see {report}")


def _head(number: int, what: str) -> None:
    print(f"\n\033[1m{number}. {what}\033[0m\n" if sys.stdout.isatty() else f"\n{number}. {what}\n")


if __name__ == "__main__":
    raise SystemExit(main())
