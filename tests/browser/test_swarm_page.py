"""The page of a flight in a real browser: it draws the map and says how the flight stands."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sextant.systems.swarm.mission.record import Record
from sextant.systems.swarm.mission.stepped import Mission, MissionRule
from sextant.systems.swarm.sight.watch import server
from sextant.systems.swarm.world.grid import Grid

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM.exists() and DRIVER.exists()),
    reason="chromium and chromedriver are not installed",
)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[str]:
    """The address of a page with a flight of two drones."""
    heights = np.zeros((10, 10))
    heights[5, 2:6] = np.inf
    rule = MissionRule(drones=2, num_targets=1, most_s=2.0)
    mission = Mission(Grid(heights_RC=heights, cell_m=1.0), rule)
    with Record(tmp_path / "flight.jsonl") as record:
        record.add(mission.start_line())
        mission.fly(lambda flying: record.add(flying.frame()))
        figures = {"seconds": 2.0, "targets_found": 0, "targets": 1, "collisions": 0}
        record.add({"kind": "end", **figures})
    with server(tmp_path / "flight.jsonl", 0) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}/"
        serving.shutdown()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    """A headless Chromium that keeps its console."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    flags = "headless=new no-sandbox disable-gpu disable-dev-shm-usage no-first-run"
    for flag in (*flags.split(), f"user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    yield driver
    driver.quit()


def test_the_page_plays_a_flight_to_its_end(page: str, browser: Any) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(page)
    WebDriverWait(browser, 20).until(
        lambda b: "ended after 2 s" in b.find_element("id", "end").text
    )
    assert "2 in the air, 0 collisions" in browser.find_element("id", "now").text
    assert len(browser.find_elements("css selector", "#drones tr")) == 2
    colours = browser.execute_script(
        "const c = document.getElementById('map');"
        "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        "const s = new Set(); for (let i = 0; i < d.length; i += 4)"
        " s.add([d[i], d[i+1], d[i+2]].join()); return [...s];"
    )
    assert {"43,48,59", "255,255,255"} <= set(colours)
    errors = [e for e in browser.get_log("browser") if "favicon" not in e["message"]]
    assert not errors
    browser.find_element("id", "play").click()
    assert browser.find_element("id", "play").text in {"Pause", "Play"}
