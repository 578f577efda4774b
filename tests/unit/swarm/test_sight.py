"""A flight on file: recorded, read while it grows, drawn."""

from __future__ import annotations

import http.client
import json
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sextant.cli.main import main
from sextant.errors import EngineError, InputError
from sextant.systems.swarm.mission.record import Record, frame_line, read_record
from sextant.systems.swarm.mission.stepped import Mission, MissionRule
from sextant.systems.swarm.sight import video
from sextant.systems.swarm.sight.video import check_video, write_video
from sextant.systems.swarm.sight.watch import Lines, newest_record, server
from sextant.systems.swarm.world.grid import Grid
from sextant.systems.swarm.world.world import WorldRule

START = {"kind": "start", "rows": 1, "columns": 1, "cell_m": 1.0, "origin_m": [0, 0]}


@pytest.fixture(scope="module")
def flight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two drones for three seconds."""
    heights = np.zeros((14, 14))
    heights[[0, -1]] = heights[:, [0, -1]] = 9.0
    grid = Grid(heights_RC=heights, cell_m=1.0, origin_m=(0.0, 0.0))
    rule = MissionRule(drones=2, num_targets=2, most_s=3.0, world=WorldRule(seed=2))
    mission, path = Mission(grid, rule), tmp_path_factory.mktemp("flight") / "flight.jsonl"
    with Record(path) as record:
        record.add(mission.start_line())
        mission.fly(lambda flying: record.add(flying.frame()))
    return path


def test_a_flight_is_recorded_with_who_does_what(flight: Path) -> None:
    start, *frames = read_record(flight)
    assert (start["rows"], start["columns"], start["drones"]) == (14, 14, 2)
    assert len(start["targets"]) == 2
    assert [line["at_s"] for line in frames] == pytest.approx(0.2 * np.arange(1, len(frames) + 1))
    seen = [cell for line in frames for cell in line["seen"]]
    assert len(seen) == len(set(seen)) > 20
    owners = {owner for line in frames for *_, owner in line["tasks"]}
    assert owners == {0, 1}
    assert frames[-1]["links"] == [[0, 1]]
    assert all(row[5] > 0.0 for row in frames[-1]["drones"])


def test_what_several_drones_found_is_one_target() -> None:
    one = {"name": 0, "phase": "search", "goal": None, "tasks": [], "hears": [1], "loop_s": 0.002}
    told = [{**one, "targets": [[1.0, 1.0]]}, {**one, "name": 1, "targets": [[1.2, 1.0], [5, 5]]}]
    places = {0: (0.0, 0.0), 1: (1.0, 0.0)}
    line = frame_line(1.0, 0.5, np.array([3]), places, told, 0)
    assert line["found"] == [[1.0, 1.0], [5, 5]]
    assert line["links"] == [[0, 1]]
    assert line["loop_ms"] == 2.0
    assert frame_line(1.0, 0.5, np.array([3]), {}, told, 0)["drones"] == []


def test_a_growing_record_is_read_by_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "flight.jsonl"
    with Record(path) as record:
        record.add(START)
        lines = Lines(path)
        first, after = lines.after(0)
        assert [json.loads(line) for line in first] == [START]
        with path.with_name("flight.jsonl.part").open("a") as other:
            other.write('{"kind":"fr')
            other.flush()
            assert lines.after(after) == ([], after)
            other.write('ame"}\n')
        more, after = lines.after(after)
        assert more == ['{"kind":"frame"}']
        assert newest_record(tmp_path) == path
    assert lines.after(after) == ([], after)
    assert newest_record(tmp_path) == path


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder"):
        Record(tmp_path)
    with pytest.raises(InputError, match="no such record"):
        Lines(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="no record of a flight here"):
        newest_record(tmp_path)
    path = tmp_path / "other.jsonl"
    for text in ('{"kind":"frame"}\n', "[]\n", "\xff\n"):
        path.write_text(text)
        with pytest.raises(InputError, match="not a record"):
            Lines(path)
        with pytest.raises(InputError, match="not a record"):
            list(read_record(path))


def test_the_page_is_served_to_this_machine_only(flight: Path) -> None:
    with server(flight, 0) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()

        def asked(path: str, host: str = "127.0.0.1") -> int:
            link = http.client.HTTPConnection("127.0.0.1", serving.server_port, timeout=10)
            link.request("GET", path, headers={"Host": host})
            status = link.getresponse().status
            link.close()
            return status

        try:
            assert asked("/") == asked("/watch.js") == asked("/lines?from=0") == 200
            assert asked("/../watch.py") == asked("/page") == 404
            first = len(flight.read_bytes().partition(b"\n")[0]) + 1
            assert asked(f"/lines?from={first}") == 200
            wrong = ("-1", "x", "5", "", "0&from=0", f"{flight.stat().st_size + 1}", "9" * 15)
            assert {asked(f"/lines?from={begin}") for begin in wrong} == {400}
            assert asked("http://[/lines") == 400
            assert asked("/", host="elsewhere.example") == 421
        finally:
            serving.shutdown()
            thread.join(10)


def test_a_page_that_is_interrupted_says_so_as_all_do(
    flight: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_serving: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("http.server.ThreadingHTTPServer.serve_forever", interrupted)
    assert main(["swarm", "watch", "--record", str(flight), "--port", "0"]) == 130


def test_a_record_makes_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "build" / "new" / "x.jsonl"
    with Record(path) as record:
        record.add(START)
    assert list(read_record(path)) == [START]
    with pytest.raises(InputError, match="cannot write"):
        Record(path / "y.jsonl")


def test_a_flight_is_drawn_without_a_display(flight: Path, tmp_path: Path) -> None:
    out = tmp_path / "flight.gif"
    pictures = write_video(flight, out)
    with Image.open(out) as image:
        assert image.n_frames == pictures
        assert min(image.size) > 300
        first = np.asarray(image.convert("RGB"))
        image.seek(image.n_frames - 1)
        assert (np.asarray(image.convert("RGB")) != first).mean() > 0.002


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_a_long_flight_is_drawn_without_holding_its_pictures(
    flight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    if suffix == ".mp4":
        pytest.importorskip("imageio_ffmpeg")
    drawn: list[weakref.ref[Image.Image]] = []
    held: list[int] = []
    pictures = video._pictures

    def watched(record: Path, every: int) -> Iterator[Image.Image]:
        for picture in pictures(record, every):
            drawn.append(weakref.ref(picture))
            held.append(sum(ref() is not None for ref in drawn))
            yield picture

    monkeypatch.setattr(video, "_pictures", watched)
    assert write_video(flight, tmp_path / f"flight{suffix}") == len(drawn) > 10
    assert max(held) <= 4


def test_a_flight_is_an_mp4_too(flight: Path, tmp_path: Path) -> None:
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    out = tmp_path / "flight.mp4"
    pictures = write_video(flight, out)
    frames, _seconds = imageio_ffmpeg.count_frames_and_secs(str(out))
    assert frames == pictures
    assert list(tmp_path.glob("*.part*")) == []


def test_a_video_that_cannot_be_written_is_refused_before_the_flight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"a .gif or an .mp4"):
        check_video(tmp_path / "flight.avi")
    monkeypatch.setattr("sextant.systems.swarm.sight.video.find_spec", lambda _name: None)
    with pytest.raises(EngineError, match="imageio-ffmpeg is not installed"):
        check_video(tmp_path / "flight.mp4")


def test_the_same_seed_is_the_same_flight() -> None:
    grid = Grid(heights_RC=np.zeros((10, 10)), cell_m=1.0)
    rule = MissionRule(drones=2, loss_probability=0.3, most_s=4.0, world=WorldRule(seed=3))
    one, other = Mission(grid, rule), Mission(grid, rule)
    assert one.fly().curve == other.fly().curve
    one_at, other_at = one.world.bodies.positions_N2, other.world.bodies.positions_N2
    np.testing.assert_array_equal(one_at, other_at)
