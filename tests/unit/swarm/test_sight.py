"""A flight on file, on the page's server and as a picture; and its bad inputs."""

import json
import threading
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sextant.errors import InputError
from sextant.systems.swarm.mission.record import Record, read_record
from sextant.systems.swarm.mission.stepped import Mission, MissionRule
from sextant.systems.swarm.sight.video import write_gif
from sextant.systems.swarm.sight.watch import server
from sextant.systems.swarm.world.grid import Grid
from sextant.systems.swarm.world.world import WorldRule

FIELD = Grid(heights_RC=np.zeros((10, 10)), cell_m=1.0)


@pytest.fixture(scope="module")
def flight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record of two drones for three seconds."""
    path = tmp_path_factory.mktemp("flight") / "flight.jsonl"
    mission = Mission(FIELD, MissionRule(drones=2, num_targets=1, most_s=3.0))
    with Record(path) as record:
        record.add(mission.start_line())
        flown = mission.fly(lambda flying: record.add(flying.frame()))
        record.add({"kind": "end", "seconds": flown.seconds})
    return path


def test_a_record_tells_the_flight(flight: Path) -> None:
    first, *frames, last = read_record(flight)
    assert (first["rows"], first["drones"], len(first["targets"])) == (10, 2, 1)
    assert [frame["at_s"] for frame in frames] == pytest.approx(np.arange(1, 16) * 0.2)
    seen = [cell for frame in frames for cell in frame["seen"]]
    assert len(seen) == len(set(seen)) > 20
    assert frames[-1]["coverage"] == pytest.approx(len(seen) / 64, abs=0.4)
    assert last["kind"] == "end"


def test_a_record_draws_as_a_gif_that_moves(flight: Path, tmp_path: Path) -> None:
    count = write_gif(flight, tmp_path / "flight.gif")
    with Image.open(tmp_path / "flight.gif") as drawn:
        assert getattr(drawn, "n_frames", 1) == count == 15
        first = np.asarray(drawn.convert("RGB"))
        drawn.seek(count - 1)
        assert (first != np.asarray(drawn.convert("RGB"))).any()


def test_the_page_s_server_gives_the_lines_from_any_on(flight: Path) -> None:
    with server(flight, 0) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        root = f"http://127.0.0.1:{serving.server_port}"
        with urllib.request.urlopen(f"{root}/lines?after=15") as answer:
            kinds = [line["kind"] for line in json.load(answer)]
        with urllib.request.urlopen(root) as answer:
            page = answer.read().decode()
        serving.shutdown()
    assert kinds == ["frame", "end"]
    assert "<canvas" in page


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"kind": "frame"}\n')
    with pytest.raises(InputError, match="no start"):
        list(read_record(tmp_path / "bad.jsonl"))
    with pytest.raises(InputError, match="no such record"):
        server(tmp_path / "none.jsonl", 0)


def test_the_same_seed_is_the_same_flight() -> None:
    rule = MissionRule(drones=2, loss_probability=0.3, most_s=4.0, world=WorldRule(seed=3))
    one, other = Mission(FIELD, rule), Mission(FIELD, rule)
    assert one.fly().curve == other.fly().curve
    one_at, other_at = one.world.bodies.positions_N2, other.world.bodies.positions_N2
    np.testing.assert_array_equal(one_at, other_at)
