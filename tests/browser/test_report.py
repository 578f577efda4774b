# ruff: noqa: E501
"""The pages in a real browser: no errors, one printed page, legible in both themes."""

from __future__ import annotations

import base64
import io
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "sights"))

from sights_plans import ROWS, quantity, rag_plan
from sights_runs import answers, drill, rehearsal

from sextant.sights.figure import map_svg
from sextant.sights.onepage.html import html_page
from sextant.sights.report import report_page

A4_INCHES, LETTER_INCHES = (8.27, 11.69), (8.5, 11.0)


def pages() -> dict[str, str]:
    """What a user may open."""
    plan = rag_plan()
    dense = {
        f"quantity_{n}_s": quantity(f"quantity_{n}_s", 1.0 + n, "s", 1.5, "so many words " * (n % 9 + 1), f"source {n % 7}")
        for n in range(48)
    }  # fmt: skip
    few = replace(plan, quantities=dict(list(plan.quantities.items())[:4]), headroom=(), risks=())
    return {
        "plan": html_page(plan, ROWS),
        "plan of little": html_page(few, ROWS[:4]),
        "plan of much": html_page(replace(plan, quantities=dense), ROWS),
        "report": report_page(plan, rehearsal(), rows=ROWS, drill=drill(), answers=[answers()]),
        "report of little": report_page(plan, rehearsal(), rows=ROWS),
        "report of much": report_page(
            plan, replace(rehearsal(), sights=rehearsal().sights * 3), rows=ROWS, drill=drill(), answers=[answers()] * 3
        ),
    }  # fmt: skip


PAGES = pages()


def show(browser: Any, path: Path, text: str, theme: str = "light") -> None:
    path.write_text(text, encoding="utf-8")
    media = {"media": "", "features": [{"name": "prefers-color-scheme", "value": theme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get(path.as_uri())


def printed(browser: Any, inches: tuple[float, float]) -> Any:
    from pypdf import PdfReader

    paper = {"paperWidth": inches[0], "paperHeight": inches[1], "printBackground": True}
    told = browser.execute_cdp_cmd("Page.printToPDF", paper)
    return PdfReader(io.BytesIO(base64.b64decode(told["data"])))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_one_sheet_of_either_paper(browser: Any, tmp_path: Path, name: str) -> None:
    show(browser, tmp_path / "page.html", PAGES[name])
    for inches in (A4_INCHES, LETTER_INCHES):
        assert len(printed(browser, inches).pages) == 1
    assert browser.get_log("browser") == []


def test_a_wider_font_still_fits(browser: Any, tmp_path: Path) -> None:
    """System fonts differ in width; the widest common one must not turn the page."""
    for name in ("plan", "plan of much", "report"):
        wide = "* { font-family: 'DejaVu Sans', Verdana !important; }</style>"
        show(browser, tmp_path / "page.html", PAGES[name].replace("</style>", wide))
        assert len(printed(browser, LETTER_INCHES).pages) == 1, name


def test_what_is_printed_is_what_was_planned(browser: Any, tmp_path: Path) -> None:
    show(browser, tmp_path / "page.html", PAGES["report"])
    text = " ".join(printed(browser, A4_INCHES).pages[0].extract_text().split())
    for words in ("9 of 10", "merge_s", "1.78x", "15.4x", "580 ms", "TimeoutExpired"):
        assert words in text


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", ["plan", "report"])
def test_both_themes_have_contrast_and_no_sideways_scroll(
    browser: Any, tmp_path: Path, theme: str, name: str
) -> None:
    show(browser, tmp_path / "page.html", PAGES[name], theme)
    colours = browser.execute_script(
        "const of = (s, p) => getComputedStyle(document.querySelector(s))[p];"
        "return [of('.sheet', 'backgroundColor'), of('h1', 'color'), of('.number', 'color'),"
        " of('p.because', 'color'), of('.f-ink', 'fill')]"
    )
    ground, *inks = (luminance(colour) for colour in colours)
    assert (ground > 0.9) is (theme == "light")
    for ink in inks:
        assert contrast(ground, ink) > 4.5
    wide = "return document.documentElement.scrollWidth > window.innerWidth"
    assert browser.execute_script(wide) is False
    number = browser.find_element("css selector", ".number")
    assert number.is_displayed()
    assert number.text == ("30.72 TB" if name == "plan" else "9 of 10")


def test_nothing_is_cut_off_or_lies_over_its_neighbour(browser: Any, tmp_path: Path) -> None:
    """No section is wider than its column, and none ends below the start of the next."""
    for name in PAGES:
        show(browser, tmp_path / "page.html", PAGES[name])
        faults = browser.execute_script(
            "const found = [];"
            "for (const c of document.querySelectorAll('.col')) {"
            "  const box = c.getBoundingClientRect(); let last = 0;"
            "  for (const s of c.children) { const r = s.getBoundingClientRect();"
            "    if (r.right > box.right + 1 || r.top < last - 1) found.push(s.className);"
            "    last = r.bottom; } }"
            "return found"
        )
        assert faults == [], name


def test_a_narrow_screen_has_one_column(browser: Any, tmp_path: Path) -> None:
    metrics = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        for name in ("plan", "report"):
            show(browser, tmp_path / "page.html", PAGES[name])
            wide = "return document.documentElement.scrollWidth"
            assert browser.execute_script(wide) <= 390
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_map_follows_the_theme(browser: Any, tmp_path: Path, theme: str) -> None:
    show(browser, tmp_path / "map.svg", map_svg(ROWS), theme)
    ground, ink = browser.execute_script(
        "const of = s => getComputedStyle(document.querySelector(s)).fill;"
        "return [of('.f-paper'), of('circle.f-ink')]"
    )
    assert (luminance(ground) > 0.9) is (theme == "light")
    assert contrast(luminance(ground), luminance(ink)) > 10
    assert browser.get_log("browser") == []


def luminance(colour: str) -> float:
    """Relative luminance of `rgb(r, g, b)`, from 0 to 1 (WCAG 2.2)."""
    channels = [int(c) / 255 for c in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: float, two: float) -> float:
    """The ratio of contrast of two luminances (WCAG 2.2)."""
    return (max(one, two) + 0.05) / (min(one, two) + 0.05)


DEMO = Path(__file__).parents[2] / "demo" / "report.html"


@pytest.mark.skipif(not DEMO.exists(), reason="`make demo` has not been run here")
def test_the_report_of_the_demo_prints_on_one_page(browser: Any) -> None:
    browser.get(DEMO.as_uri())
    assert browser.get_log("browser") == []
    for inches in (A4_INCHES, LETTER_INCHES):
        pages_of = printed(browser, inches).pages
        assert len(pages_of) == 1
    text = pages_of[0].extract_text()
    for words in ("Web-scale RAG", "query_p50_s", "coverage", "stop:shard/1"):
        assert words in text
