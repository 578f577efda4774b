"""The page of a flight in a real browser: played from a record, and live while it grows."""

from __future__ import annotations

import json
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from test_report import contrast, luminance

from sextant.systems.swarm.mission.record import Record
from sextant.systems.swarm.sight.watch import server

SIDE, DRONES, FRAMES = 20, 4, 60
START = {
    "kind": "start",
    "rows": SIDE,
    "columns": SIDE,
    "cell_m": 1.0,
    "origin_m": [0.0, 0.0],
    "blocked": [*range(SIDE), *range(205, 211)],
    "targets": [[4.5, 4.5], [15.5, 12.5]],
    "drones": DRONES,
}
END = {"kind": "end", "seconds": 12.0, "coverage": 1.0, "collisions": 0,
       "targets": 2, "targets_found": 2}  # fmt: skip


def frame(number: int) -> dict[str, Any]:
    """Four drones on circles; a row of cells more is seen every third frame; drone 3 comes down."""
    share = min(1.0, number / 57)
    up = range(DRONES if number < 40 else DRONES - 1)
    places = [
        (10 + (3 + i) * math.cos(number / 9 + i), 10 + (3 + i) * math.sin(number / 9 + i))
        for i in up
    ]
    return {
        "kind": "frame",
        "at_s": round(0.2 * (number + 1), 2),
        "coverage": share,
        "seen": list(range(SIDE * (number // 3), SIDE * (number // 3 + 1))),
        "drones": [[i, x, y, "search", [17.5, 17.5], 1.5 + i] for i, (x, y) in enumerate(places)],
        "tasks": [[17.5, 17.5, 0], [2.5, 17.5, 0], [17.5, 2.5, 1]],
        "links": [[0, 1], [1, 2]],
        "loop_ms": 2.0,
        "found": [[4.6, 4.4]] if number >= 30 else [],
        "collisions": 0,
    }


@contextmanager
def watched(record: Path) -> Iterator[str]:
    """The address of the page over a record."""
    with server(record, 0) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{serving.server_port}/"
        finally:
            serving.shutdown()
            thread.join(10)


@pytest.fixture(scope="module")
def flown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A page over a flight that has ended."""
    path = tmp_path_factory.mktemp("flight") / "flight.jsonl"
    with Record(path) as record:
        for line in (START, *map(frame, range(FRAMES)), END):
            record.add(line)
    with watched(path) as url:
        yield url


class Page:
    """The page, as somebody uses it."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser

    def open(self, url: str) -> Page:
        self.browser.get(url)
        self.until("document.querySelectorAll('#drones tr').length > 0")
        return self

    def run(self, script: str) -> Any:
        return self.browser.execute_script(f"return {script}")

    def text(self, name: str) -> str:
        return str(self.run(f"document.getElementById('{name}').textContent"))

    def press(self, key: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.browser).send_keys(key).perform()

    def until(self, condition: str | Callable[[], object], within_s: float = 20.0) -> None:
        end_s = time.monotonic() + within_s
        while not (self.run(condition) if isinstance(condition, str) else condition()):
            assert time.monotonic() < end_s, f"not in {within_s} s: {condition}"
            time.sleep(0.03)

    def time_s(self) -> float:
        return float(self.text("clock").removesuffix(" s"))

    def pixel(self, x: float, y: float) -> tuple[int, ...]:
        """The color of the map at a place in metres."""
        return tuple(
            self.run(
                "((shown, across, down) => {"
                "const copy = new OffscreenCanvas(1, 1).getContext('2d');"
                "copy.drawImage(shown, -shown.width * across, -shown.height * down);"
                "return Array.from(copy.getImageData(0, 0, 1, 1).data);"
                f"}})(document.getElementById('map'), {x / SIDE}, {1 - y / SIDE})"
            )
        )

    def complaints(self) -> list[Any]:
        return [entry for entry in self.browser.get_log("browser") if entry["level"] != "INFO"]


@pytest.fixture
def page(browser: Any) -> Iterator[Page]:
    browser.get_log("browser")
    found = Page(browser)
    yield found
    assert found.complaints() == []


def test_a_record_is_played_to_its_end(page: Page, flown: str) -> None:
    from selenium.webdriver.common.keys import Keys

    page.open(flown)
    assert page.text("state") == "recorded flight"
    assert page.text("flight") == "4 drones · 20 × 20 m"
    first_s = page.time_s()
    page.until(lambda: page.time_s() > first_s)
    page.press(" ")
    page.press(Keys.HOME)
    page.until(lambda: page.time_s() == 0.0)
    unseen, wall = page.pixel(0.5, 19.5), page.pixel(10.5, 0.5)
    assert unseen != wall
    assert page.text("targets") == "0 of 2"
    page.press(Keys.END)
    page.until("document.getElementById('end').textContent !== ''")
    assert page.pixel(0.5, 19.5) != unseen
    assert page.pixel(10.5, 0.5) == wall
    assert page.text("seen") == "100.0 %"
    assert page.text("targets") == "1 of 2"
    assert page.text("up") == "3 of 4"
    assert "2 of 2 targets found" in page.text("end")
    assert page.text("at95") == "95 % after 11.2 s"
    rows = page.run(
        "[...document.querySelectorAll('#drones tr')]"
        ".map(r => [...r.cells].map(c => c.textContent))"
    )
    assert rows[0] == ["0", "search", "2", "1", "1.5 ms"]
    assert rows[1] == ["1", "search", "1", "2", "2.5 ms"]
    assert rows[3][1] == "down"


def test_it_can_be_used_by_keyboard_alone(page: Page, flown: str) -> None:
    from selenium.webdriver.common.keys import Keys

    page.open(flown)
    playing = "document.getElementById('play').ariaLabel"
    assert page.run(playing) == "Pause"
    page.press(" ")
    page.until(lambda: page.run(playing) == "Play")
    page.press(Keys.HOME)
    page.press(Keys.ARROW_RIGHT)
    page.press(Keys.ARROW_RIGHT)
    page.until(lambda: page.time_s() == 2.0)
    page.press(Keys.ARROW_LEFT)
    page.until(lambda: page.time_s() == 1.0)
    page.run("document.querySelector('#drones button').focus()")
    page.press(Keys.ENTER)
    page.until("document.querySelector('#drones button').ariaPressed === 'true'")
    page.press(" ")
    page.until("document.querySelector('#drones button').ariaPressed === 'false'")
    assert page.run(playing) == "Play"


def test_a_flight_is_watched_while_it_goes_on(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "flight.jsonl"
    with Record(path) as record:
        for line in (START, *map(frame, range(10))):
            record.add(line)
        with watched(path) as url:
            page.open(url)
            assert page.text("state") == "in flight"
            assert page.run("document.getElementById('live').ariaPressed") == "true"
            page.until(lambda: page.time_s() > 1.5)
            for number in range(10, 50):
                record.add(frame(number))
            page.until(lambda: page.time_s() > 9.0)
            assert page.text("up") == "3 of 4"
            page.press(" ")
            for number in range(50, FRAMES):
                record.add(frame(number))
            record.add(END)
            record.close()
            page.until(lambda: page.text("state") == "recorded flight")
            assert not page.run("document.getElementById('live').checkVisibility()")
            assert page.time_s() < 10.5


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1300])
def test_it_is_legible_in_both_themes_at_every_width(
    page: Page, flown: str, theme: str, width: int
) -> None:
    media = {"media": "", "features": [{"name": "prefers-color-scheme", "value": theme}]}
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page.open(flown)
        ground = luminance(page.run("getComputedStyle(document.documentElement).backgroundColor"))
        assert (ground > 0.9) is (theme == "light")
        for selector in ("h1", "#clock", ".legend", "dt", "dd", "dd small", "caption", "td", "th"):
            ink = page.run(f"getComputedStyle(document.querySelector('{selector}')).color")
            assert contrast(ground, luminance(ink)) > 4.5, selector
        assert page.run("document.documentElement.scrollWidth") <= width
        assert page.run("document.getElementById('map').clientWidth") > 0.7 * min(width, 700)
        wall, floor = page.pixel(10.5, 0.5), page.pixel(0.5, 19.5)
        inks = [luminance(f"rgb({r}, {g}, {b})") for r, g, b, _ in (wall, floor)]
        assert contrast(*inks) > 3.0
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def test_what_is_no_flight_is_said(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "flight.jsonl"
    path.write_text("\n".join([json.dumps(START), json.dumps(frame(0)), "<b>no", ""]))
    with watched(path) as url:
        browser.get(url)
        page = Page(browser)
        page.until("!document.getElementById('problem').hidden")
        assert "not a record of a flight" in page.text("problem")
    browser.get_log("browser")
