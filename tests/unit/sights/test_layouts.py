"""The layouts of a training plan: in the page, and as the figure of time against memory."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from rich.console import Console
from sights_plans import rag_plan

from sextant.cli.main import main
from sextant.cli.plan import plan_for
from sextant.plan.quantity import Plan
from sextant.sights.layouts import layouts_of
from sextant.sights.onepage.markdown import markdown_page
from sextant.sights.onepage.terminal import print_page
from sextant.sights.pareto import pareto_png, pareto_svg, ticks
from sextant.sights.scales import LogScale

SPEC = "atlas:foundation-pretraining"


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_for(SPEC)


def test_the_best_comes_first_and_the_front_is_a_front(plan: Plan) -> None:
    found = layouts_of(plan)
    assert found is not None
    assert found.rows[0].role == "best"
    assert found.rows[0].step_s == plan.quantities["step_s"].value
    assert found.rows[0].memory_bytes == plan.quantities["memory_bytes_per_gpu"].value
    front = found.front
    assert len(front) > 2
    assert [r.step_s for r in front] == sorted(r.step_s for r in front)
    needs = [r.memory_bytes for r in front]
    assert needs == sorted(needs, reverse=True)
    assert sum(row.role == "runner-up" for row in found.rows) == 3
    assert all(row.memory_bytes <= found.usable_bytes for row in found.rows)
    fell = sum(n for why, n in found.rejected.items() if "memory" in why or "fit" in why)
    assert found.feasible + fell == found.considered


def test_every_page_shows_them_and_why_others_fell(plan: Plan) -> None:
    out = io.StringIO()
    print_page(plan, console=Console(file=out, width=80))
    text = " ".join(out.getvalue().split())
    markdown = markdown_page(plan)
    for words in ("best ●", "runner-up", "leaner ●", "activations do not fit beside the weights"):
        assert words in text
        assert words in markdown
    assert "Layouts" not in markdown_page(rag_plan())


def test_the_figure_has_the_front_and_the_limit(plan: Plan) -> None:
    found = layouts_of(plan)
    assert found is not None
    drawn = pareto_svg(found, "A <b> & c")
    ElementTree.fromstring(drawn)
    for row in found.front:
        assert drawn.count(row.layout) >= 1
    assert "all there is" in drawn
    assert pareto_png(found, "x").startswith(b"\x89PNG")


def test_ticks_are_round() -> None:
    assert ticks(LogScale(low=0.9, high=30.0)) == (1.0, 2.0, 5.0, 10.0, 20.0)
    assert ticks(LogScale(low=0.9, high=2e4)) == (1.0, 10.0, 100.0, 1000.0, 10000.0)
    assert ticks(LogScale(low=5.2, high=14.0)) == (6.0, 7.0, 8.0, 9.0, 10.0)


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_the_command_draws_it(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"front{suffix}"
    assert main(["plan", SPEC, "--figure", str(path)]) == 0
    assert path.stat().st_size > 2000


@pytest.mark.parametrize(
    ("spec", "file", "said"),
    [
        (SPEC, "front.gif", "no such kind of figure"),
        ("atlas:drone-swarm", "front.svg", "no layouts of a training job"),
        (SPEC, "no/where/front.png", "cannot write"),
    ],
)
def test_what_cannot_be_drawn_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spec: str, file: str, said: str
) -> None:
    assert main(["plan", spec, "--figure", str(tmp_path / file)]) == 2
    assert said in capsys.readouterr().err
