"""Before take-off: what cannot be flown is said; and whose knowledge counts in the end."""

import json
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sextant.cli.main import main
from sextant.errors import EngineError, InputError
from sextant.fleet import wire
from sextant.systems.swarm.drone import process
from sextant.systems.swarm.mission.abort import Landed, flights_here, land_all, orders_in
from sextant.systems.swarm.mission.known import Known
from sextant.systems.swarm.mission.launch import Flight
from sextant.systems.swarm.mission.stepped import Mission, MissionRule
from sextant.systems.swarm.mission.wire import Keys, pack
from sextant.systems.swarm.world.grid import Grid

SHUT = [
    "............",
    "..@@@@......",
    "..@..@......",
    "..@..@......",
    "..@@@@......",
    "............",
]


def written(path: Path, rows: list[str]) -> Path:
    text = "\n".join(rows)
    path.write_text(f"type octile\nheight {len(rows)}\nwidth {len(rows[0])}\nmap\n{text}\n")
    return path


def flight(map_file: Path, folder: Path, drones: int = 2) -> Flight:
    return Flight(
        map_file, folder, cell_m=1.0, drones=drones, targets=1, loss=0.0, seed=1, most_s=20.0
    )


def test_a_map_too_wide_for_processes_is_refused_with_what_to_do(tmp_path: Path) -> None:
    wide = written(tmp_path / "wide.map", ["." * 9000] * 3)
    with pytest.raises(InputError, match="9000 x 3") as refused:
        flight(wide, tmp_path)
    assert refused.value.where == "--map"
    assert "join 2 cells" in str(refused.value.hint)


def test_what_nobody_can_reach_is_said_before_take_off_and_on_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shut, record = written(tmp_path / "shut.map", SHUT), tmp_path / "flight.jsonl"
    words = ["--drones", "1", "--targets", "0", "--most", "1 s", "--stepped"]
    assert main(["swarm", "fly", "--map", str(shut), *words, "--record", str(record)]) == 0
    assert "warning: 4 m2 cannot be reached" in capsys.readouterr().err
    with record.open() as lines:
        assert json.loads(next(lines))["left_out_m2"] == 4.0


def test_what_only_the_dead_knew_is_not_covered() -> None:
    grid = Grid(heights_RC=np.zeros((16, 16)), cell_m=1.0)
    mission = Mission(grid, MissionRule(drones=2, num_targets=0))
    for _ in range(60):
        mission.tick(lambda _one, _other: False)
    both = mission.coverage()
    mission.kill(0)
    left = mission.coverage()
    known = mission.pilots[1].shared.seen_C & mission.reachable_C
    assert left == pytest.approx(known.sum() / mission.reachable_C.sum())
    assert 0.0 < left < both
    mission.kill(1)
    assert mission.coverage() == 0.0


def flying(processes: Path, number: int, orders: Path) -> None:
    """As the machine tells of a process that flies by these orders."""
    process = processes / str(number)
    process.mkdir(parents=True)
    words = ["python", "-m", "sextant", "swarm", "drone", "--config", orders.name, ""]
    (process / "cmdline").write_bytes("\0".join(words).encode())
    (process / "cwd").symlink_to(orders.parent)


def test_an_abort_is_of_those_who_fly_here_whatever_is_left_over(tmp_path: Path) -> None:
    processes = tmp_path / "proc"
    with pytest.raises(InputError, match="nobody flies here"):
        flights_here(processes)
    folders = [tmp_path / name for name in ("over", "one", "two")]
    for folder in folders:
        folder.mkdir()
        flight(written(tmp_path / "field.map", ["." * 12] * 12), folder)
    for number, folder in enumerate(folders[1:]):
        flying(processes, 2 * number, folder / "drone-1.orders.json")
        flying(processes, 2 * number + 1, folder / "drone-0.orders.json")
    (processes / "9").mkdir()
    (processes / "9" / "cmdline").write_bytes(b"vi\0swarm\0")
    assert flights_here(processes) == [f / "drone-0.orders.json" for f in folders[1:]]
    for orders in tmp_path.glob("*/drone-*.orders.json"):
        orders.unlink()
    with pytest.raises(InputError, match="without readable orders: process 0, 1, 2, 3"):
        flights_here(processes)


def test_an_abort_by_the_orders_of_one_drone_is_of_all_of_its_mission(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no drone's orders"):
        orders_in(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    for folder in (tmp_path, other):
        flight(written(tmp_path / "field.map", ["." * 12] * 12), folder, drones=3)
    assert [(one.name, one.drones) for one in orders_in(tmp_path)] == [(0, 3), (1, 3), (2, 3)]
    (tmp_path / "drone-1.orders.json").write_bytes((other / "drone-1.orders.json").read_bytes())
    assert [one.name for one in orders_in(tmp_path / "drone-2.orders.json")] == [0, 2]
    with pytest.raises(InputError, match="more than one mission"):
        orders_in(tmp_path)


@pytest.mark.parametrize("told", [(), (0,), (0, 1, 2)])
def test_an_abort_of_a_flight_where_nobody_flies_is_no_success(
    tmp_path: Path, told: tuple[int, ...]
) -> None:
    pytest.importorskip("zenoh")
    flight(written(tmp_path / "field.map", ["." * 12] * 12), tmp_path, drones=3)
    for name in told:
        (tmp_path / f"drone-{name}.json").write_text("{}")
    said = f"already over: {len(told)} of 3" if told else "nobody of this mission is heard"
    with pytest.raises(EngineError, match=said):
        land_all(orders_in(tmp_path / "drone-0.orders.json"), 0.3)


def test_an_abort_counts_those_too_whose_orders_are_not_here(tmp_path: Path) -> None:
    pytest.importorskip("zenoh")
    made = flight(written(tmp_path / "field.map", ["." * 12] * 12), tmp_path, drones=3)
    for name in (1, 2):
        (tmp_path / f"drone-{name}.orders.json").unlink()
    keys, over = Keys(made.mission), threading.Event()
    vehicle = wire.peer(orders_in(tmp_path)[0].peers[0], [])

    def tell() -> None:
        # The third fell out long before, the first two land now.
        while not over.wait(0.05):
            vehicle.put(keys.truth, pack({"flying": [False, False, False]}))

    thread = threading.Thread(target=tell)
    thread.start()
    try:
        landed = land_all(orders_in(tmp_path / "drone-0.orders.json"), 60.0)
    finally:
        over.set()
        thread.join(10)
        vehicle.close()
    assert landed == Landed(down=(0, 1, 2), silent=())


def test_processes_too_do_not_count_what_only_the_dead_knew() -> None:
    known = Known(6)
    known.hear(0, [0, 1, 2])
    known.hear(1, [2, 3])
    known.lose([0])
    assert np.flatnonzero(known.seen_C).tolist() == [2, 3]
    known.hear(0, [4])
    known.hear(1, [5])
    assert np.flatnonzero(known.seen_C).tolist() == [2, 3, 5]
    known.lose([0, 1])
    assert not known.seen_C.any()


def test_a_flight_of_processes_ends_with_what_those_know_who_were_not_lost(tmp_path: Path) -> None:
    made = flight(written(tmp_path / "field.map", ["." * 12] * 12), tmp_path)
    cells = np.flatnonzero(made.reachable_C)
    spot, stages = made.targets_T2[0].tolist(), {"plan": 0.0}
    counts = dict.fromkeys(
        ("ticks", "overtaken", "cpu_s", "loop_p50_s", "loop_p99_s", "missed_deadlines"), 0
    )
    for name, seen, targets in ((0, cells, [spot]), (1, cells[:3], [])):
        told = {"name": name, "seen": seen.tolist(), "targets": targets, "aborted": name == 1}
        told |= {**counts, "words_bytes": 0, "stages_p50_s": stages}
        (tmp_path / f"drone-{name}.json").write_text(json.dumps(told))
    result = {"seconds": 1.0, "collisions": [], "min_separation_m": None, "landed": 2, "cpu_s": 0}
    (tmp_path / "world.json").write_text(json.dumps({**result, "lost": [0]}))
    figures = made.figures()
    assert figures["coverage"] == round(3 / len(cells), 4)
    assert (figures["targets_found"], figures["aborted"]) == (0, True)


def test_a_drone_whose_endpoint_is_taken_is_told_which_and_what_to_do() -> None:
    pytest.importorskip("zenoh")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = f"tcp/127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(EngineError, match="Address already in use") as refused:
            wire.peer(taken, [])
    assert refused.value.where == f"listen {taken}"
    assert "cargo" not in str(refused.value)
    assert "still flies" in str(refused.value.hint)
    with pytest.raises(InputError, match="<protocol>/<address>"):
        wire.peer(taken, ["nonsense"])


def test_a_drone_without_a_vehicle_says_what_it_waits_for_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flight(written(tmp_path / "field.map", ["." * 12] * 12), tmp_path)
    orders = orders_in(tmp_path)[0]
    monkeypatch.setattr(process, "READY_S", 0.1)
    nothing: Any = SimpleNamespace(sense=lambda within_s: time.sleep(0.02))  # noqa: ARG005
    with pytest.raises(EngineError, match="no vehicle came"):
        process.begin(nothing, orders, lambda _key, _body: None)
    assert f"drone 0 waits 0.1 s for readings: {orders.peers[0]}" in capsys.readouterr().err


def test_orders_that_are_no_json_are_refused_by_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "house.map"
    path.write_text("type octile")
    with pytest.raises(InputError, match="Invalid JSON") as refused:
        orders_in(path)
    assert refused.value.where == str(path)
