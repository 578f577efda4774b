# ruff: noqa: E501
"""The report of a rehearsal: its words, its plots, and how it gives way when there is much."""

from __future__ import annotations

import io
import math
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from rich.console import Console
from sights_plans import ROWS, rag_plan
from sights_runs import answers, drill, rehearsal
from test_onepage import NASTY, read, told

from sextant.plan.quantity import Lean
from sextant.sights.record import Sight
from sextant.sights.rehearsal import DrillResult, FiredFault, Moment, Recovery
from sextant.sights.report import (
    answers_terminal,
    print_drill,
    print_rehearsal,
    report_page,
)
from sextant.sights.report.drills import MOST_POINTS, thinned, timeline_scene
from sextant.sights.report.html import scale_words
from sextant.sights.svg import scene_svg


def whole_page() -> str:
    return report_page(rag_plan(), rehearsal(), rows=ROWS, drill=drill(), answers=[answers()])


def test_the_report_shows_every_sight_and_which_lie_outside() -> None:
    page = whole_page()
    text = told(page)
    assert "9 of 10" in text
    for sight in rehearsal().sights:
        assert sight.quantity in text
    assert page.count('class="dot inside"') == 9
    assert page.count('class="dot outside"') == 1
    assert "outside: merge_s" in text
    assert rehearsal().plan_sha256[:16] in text


def test_the_report_shows_the_drill_and_the_answer() -> None:
    text = told(whole_page())
    for words in ("stop:shard/3@2s", "580 ms", "5.1 s", "did not hold", "missed", "shard/3 missing",
                  "TimeoutExpired", "Popen.communicate", "coverage 88%", "deadline 50 ms"):  # fmt: skip
        assert words in text


def test_a_report_without_drill_or_answers_is_a_report() -> None:
    text = told(report_page(rag_plan(), rehearsal(), rows=ROWS))
    assert "The drill" not in text
    assert "Where is it on the map?" in text


def test_hostile_words_are_words() -> None:
    nasty = replace(
        rehearsal(), fleet=NASTY, record=NASTY, notes=(NASTY,),
        sights=(Sight(quantity=NASTY, predicted=1, low=0, high=2, measured=3, unit=NASTY),),
    )  # fmt: skip
    cited = replace(answers().citations[0], doc=NASTY, title=NASTY, text=NASTY)
    asked = replace(
        answers(), question=NASTY, answer=NASTY, citations=(cited,), timing={NASTY: 1.0}
    )
    put = replace(drill(), faults=(FiredFault(spec=NASTY, fired_at_s=1.0),), lost={NASTY: [NASTY]})
    reader = read(report_page(rag_plan(), nasty, drill=put, answers=[asked]))
    assert "script" not in reader.tags
    out = io.StringIO()
    console = Console(file=out, width=100)
    print_rehearsal(nasty, console=console)
    print_drill(put, console=console)
    console.print(answers_terminal(asked))
    assert "\x1b" not in out.getvalue()
    assert "[red]" in out.getvalue()


def test_odd_measurements_have_a_row() -> None:
    odd = tuple(
        Sight(
            quantity=f"q{n}", predicted=predicted, low=low, high=high, measured=measured, unit="s"
        )
        for n, (predicted, low, high, measured) in enumerate(
            [
                (0, 0, 0, 0),
                (0, 0, 1, 5),
                (1, 0.5, 2, 0),
                (1, 0.9, 1.1, 1e9),
                (1, 1, 1, 1e-9),
                (1, 0, 2, 1),
            ]
        )
    )
    run = replace(rehearsal(), sights=odd, lean_predicted=Lean(busy={}, waiting={}))
    text = told(report_page(rag_plan(), run, rows=ROWS))
    assert all(f"q{n}" in text for n in range(6))
    out = io.StringIO()
    print_rehearsal(run, console=Console(file=out, width=100))
    assert out.getvalue().count("outside") == 3 + 1


def test_many_sights_still_make_one_sheet() -> None:
    many = rehearsal().sights * 9
    run = replace(rehearsal(), sights=many)
    page = report_page(rag_plan(), run, rows=ROWS, drill=drill(), answers=[answers()] * 5)
    assert page.count('class="screen-only"') == len(many) - 12


def test_the_terminal_shows_predicted_beside_measured() -> None:
    out = io.StringIO()
    print_rehearsal(rehearsal(), console=Console(file=out, width=100))
    line = next(line for line in out.getvalue().splitlines() if line.startswith("merge_s"))
    assert "90 µs" in line
    assert "160 µs" in line
    assert "1.78x" in line
    assert line.endswith("outside")


def test_the_drill_in_the_terminal_says_what_was_lost() -> None:
    out = io.StringIO()
    print_drill(drill(), console=Console(file=out, width=100))
    assert "recovery: detect 580 ms   restart 3.9 s   warm 4.8 s   full 5.1 s" in out.getvalue()
    assert "did not hold" in out.getvalue()


def test_thinning_keeps_the_worst() -> None:
    moments = [Moment(t_s=n / 100, coverage=1.0, latency_s=0.01) for n in range(5000)]
    moments[2501] = Moment(t_s=25.01, coverage=0.5, latency_s=0.9)
    few = thinned(moments)
    assert len(few) <= MOST_POINTS
    assert min(m.coverage for m in few) == 0.5
    assert max(m.latency_s for m in few) == 0.9


@pytest.mark.parametrize("timeline", [(), (Moment(t_s=0.0, coverage=0.0, latency_s=0.0),)])
def test_a_timeline_of_nothing_is_drawn(timeline: tuple[Moment, ...]) -> None:
    result = DrillResult(
        faults=(FiredFault(spec="kill:x", fired_at_s=None),), recovery=Recovery(), lost={},
        held=True, expectations=(), timeline=timeline,
    )  # fmt: skip
    ET.fromstring(scene_svg(timeline_scene(result)))
    text = told(report_page(rag_plan(), rehearsal(), drill=result))
    assert "never fired" in text
    assert "Lost: nothing" in text


@pytest.mark.parametrize(
    ("scale", "said"),
    [(1.0, "the whole"), (4.36e-6, "1/229,000"), (0.5, "1/2"), (0.0, "none"), (2.0, "2x")],
)
def test_scales_are_said_as_shares(scale: float, said: str) -> None:
    assert scale_words(scale) == said
    assert math.isfinite(scale)
