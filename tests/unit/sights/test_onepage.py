"""The one-page answer: what it says, in all three renderings, and that nothing breaks it."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from sights_plans import ROWS, at, quantity, rag_plan

from sextant.axes import Axis
from sextant.plan.quantity import Budget, Ceiling, Lean, Plan, Stage
from sextant.sights.onepage import words
from sextant.sights.onepage.html import _fitted, html_page
from sextant.sights.onepage.markdown import markdown_page
from sextant.sights.onepage.terminal import print_page
from sextant.sights.sheet import SMALLEST_PT, fitting_size_pt

NASTY = "<script>alert('x')</script> | [red]b[/red] \x1b[31m\x07 `c` & \"d\" ‮"
VOID = {"meta", "link", "path", "rect", "circle", "polyline"}


class Reader(HTMLParser):
    """Collects the words and the elements, and checks that they nest."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID and tag != "wbr":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def told(page: str) -> str:
    return "".join(read(page).words)


def printed(plan: Plan, width: int = 80) -> str:
    out = io.StringIO()
    print_page(plan, ROWS, console=Console(file=out, width=width))
    return out.getvalue()


def empty_plan() -> Plan:
    """A workload that one machine carries."""
    return replace(
        rag_plan(),
        coordinates=at(""),
        ceilings=(),
        headroom=(),
        order=(),
        nearest=None,
        quantities={},
        lean=Lean(busy={}, waiting={}),
        budget=None,
        risks=(),
        assumptions=(),
    )


def test_the_page_answers_the_four_questions_with_their_numbers() -> None:
    page = told(html_page(rag_plan(), ROWS))
    for words_ in (
        "Web-scale RAG",
        "Answers questions from ten billion passages",
        words.FORCES,
        "15.4x",
        words.ORDER,
        "32 shards; every query waits",
        "30.72 TB",
        "Merging the slowest of 32 shards",
        "705 ms of 1 s allowed: 295 ms left",
        "index_raw_bytes",
        "10 billion vectors x 768 dims x 4 B",
        "Dean and Barroso 2013",
        "single point of failure".capitalize(),
        "Nearest known system: Live moderation, the same axes.",
    ):
        assert words_ in page


def test_the_page_asks_nobody_for_anything() -> None:
    reader = read(html_page(rag_plan(), ROWS))
    assert not {"script", "img", "iframe", "object"} & set(reader.tags)
    for name, value in reader.attributes:
        if name in ("src", "href"):
            assert value is not None
            assert value.startswith("data:")
    assert "@import" not in html_page(rag_plan(), ROWS)
    assert "url(" not in html_page(rag_plan(), ROWS)


def test_every_source_is_numbered_once() -> None:
    plan = rag_plan()
    page = html_page(plan, ROWS)
    sources = {q.source for q in plan.quantities.values()}
    for source in sources:
        assert told(page).count(source) == 1
    assert set(re.findall(r"<sup>(\d+)</sup>", page)) == {str(n + 1) for n in range(len(sources))}


@pytest.mark.parametrize("width", [76, 80, 120, 200])
def test_the_terminal_reads_without_colour(width: int) -> None:
    text = printed(rag_plan(), width)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= width
    flat = " ".join(text.split())
    for words_ in ("15.4x", "30.72 TB", "▸ Web-scale RAG", "4.1 ms", "queries_per_s_per_shard"):
        assert words_ in flat


def test_markdown_has_the_same_numbers() -> None:
    text = markdown_page(rag_plan(), ROWS)
    assert text.startswith("# Web-scale RAG\n")
    assert "| index\\_raw\\_bytes | 30.72 TB | exact |" in text
    assert "| ▸ Web-scale RAG | ● | · | ● | ● | ● | · | 4 |" in text
    widths = {
        line.count("|") for line in text.split("## The numbers")[1].splitlines() if "|" in line
    }
    assert widths == {6}


def nasty_plan() -> Plan:
    plan = rag_plan()
    return replace(
        plan,
        workload=NASTY,
        does=NASTY,
        machine=NASTY,
        ceilings=tuple(replace(c, because=NASTY, name=NASTY) for c in plan.ceilings),
        order=tuple(replace(s, because=NASTY, cost=NASTY) for s in plan.order),
        striking=replace(plan.striking, number=NASTY, because=NASTY),
        hardest=replace(plan.hardest, what=NASTY, because=NASTY),
        quantities={NASTY: quantity(NASTY, 1.0, "s", 2.0, NASTY, NASTY)},
        budget=Budget(
            allowed_s=1.0, what=NASTY, stages=(Stage(name=NASTY, axis=Axis.DATA, seconds=2.0),)
        ),
        risks=(NASTY,),
        assumptions=(NASTY * 100,),
    )


def test_hostile_words_are_words() -> None:
    plan = nasty_plan()
    reader = read(html_page(plan, ROWS))
    assert "script" not in reader.tags
    assert not [name for name, _ in reader.attributes if name.startswith("on")]
    text = printed(plan)
    assert "\x1b" not in text
    assert "[red]" in text
    markdown = markdown_page(plan, ROWS)
    assert not re.search(r"(?<!\\)<script", markdown)
    assert "\x07" not in markdown


def test_a_plan_that_needs_one_machine_has_a_page() -> None:
    plan = empty_plan()
    page = told(html_page(plan, ROWS))
    assert words.NOTHING_BINDS in page
    assert "resembles none" in page
    assert words.NOTHING_BINDS in printed(plan)
    assert words.NOTHING_BINDS in markdown_page(plan)


def test_odd_numbers_do_not_break_the_page() -> None:
    plan = rag_plan()
    ceilings = (
        Ceiling(name="custody", axis=Axis.DATA, demand=1, capacity=0, unit="", because="never"),
        Ceiling(
            name="model", axis=Axis.MODEL, demand=1e30, capacity=1e-9, unit="B", because="vast"
        ),
        Ceiling(name="data", axis=Axis.DATA, demand=0, capacity=5, unit="B", because="none"),
    )
    stages = (
        Stage(name="none", axis=Axis.DATA, seconds=0.0),
        Stage(name="all", axis=Axis.MODEL, seconds=5.0),
    )
    for allowed_s in (0.0, 1.0, math.inf):
        budget = Budget(allowed_s=allowed_s, what="x", stages=stages)
        odd = replace(plan, ceilings=ceilings, headroom=(), budget=budget)
        assert "∞" in told(html_page(odd, ROWS))
        assert "∞" in printed(odd)
        markdown_page(odd, ROWS)


def test_an_overrun_is_told() -> None:
    stage = Stage(name="there and back", axis=Axis.INTELLIGENCE, seconds=0.1)
    budget = Budget(allowed_s=0.05, what="one control period", stages=(stage,))
    plan = replace(rag_plan(), budget=budget)
    page = html_page(plan, ROWS)
    assert "over by 50 ms" in told(page)
    assert 'class="over"' in page
    assert "over by 50 ms" in printed(plan)


def test_many_quantities_shrink_the_type_and_then_leave_the_paper() -> None:
    plan = rag_plan()
    long = {
        f"q{n}_s": quantity(f"q{n}_s", n, "s", 2.0, "because " * 20, f"source {n}")
        for n in range(90)
    }
    few, many = _fitted(plan, ROWS, "x")[1], _fitted(replace(plan, quantities=long), ROWS, "x")[1]
    assert SMALLEST_PT <= many < few
    page = html_page(replace(plan, quantities=long), ROWS)
    assert page.count('class="screen-only"') > 10
    assert "more: sextant explain" in told(page)
    assert "q89_s" in told(page)


def test_the_last_resort_still_fits_the_estimate() -> None:
    plan = replace(rag_plan(), risks=("risk " * 60,) * 40, assumptions=("assume " * 60,) * 40)
    sheet, size_pt = _fitted(plan, ROWS, "x")
    assert fitting_size_pt(sheet) == size_pt


def test_a_user_s_own_system_is_first_on_the_map() -> None:
    plan = replace(rag_plan(), workload="my-product")
    rows, title = words.placed(plan, ROWS)
    assert (rows[0].title, title, len(rows)) == ("My product", "My product", 10)
    same, title = words.placed(rag_plan(), ROWS)
    assert (same, title) == (ROWS, "Web-scale RAG")


@pytest.mark.parametrize(
    ("low", "high", "unit", "said"),
    [
        (1.0, 1.0, "s", ""),
        (0.9e-3, 1.1e-3, "s", "900 µs – 1.1 ms"),
        (2.734e-3, 6.15e-3, "s", "2.73 – 6.15 ms"),
        (316_923, 535_600, "USD", "$317,000 – $536,000"),
        (0.1, 0.2, "fraction", "10% – 20%"),
        (2.2388, 4.02, "", "2.24 – 4.02"),
    ],
)
def test_intervals_are_short(low: float, high: float, unit: str, said: str) -> None:
    assert words.range_words(low, high, unit) == said


@settings(max_examples=25)
@given(st.text(max_size=400), st.floats(0, 1e30), st.floats(1e-30, 1e30))
def test_any_words_and_numbers_make_a_page(text: str, demand: float, capacity: float) -> None:
    plan = rag_plan()
    ceiling = Ceiling(
        name=text, axis=Axis.DATA, demand=demand, capacity=capacity, unit=text, because=text
    )
    plan = replace(plan, workload=text, does=text, ceilings=(ceiling,), risks=(text,))
    assert read(html_page(plan, ROWS)).tags
    printed(plan)
    markdown_page(plan, ROWS)
