"""Before take-off: what cannot be flown is said; and whose knowledge counts in the end."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from sextant.cli.main import main
from sextant.errors import InputError
from sextant.systems.swarm.mission.abort import newest_flight, orders_in
from sextant.systems.swarm.mission.launch import Flight
from sextant.systems.swarm.mission.stepped import Mission, MissionRule
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


def test_an_abort_of_no_flight_says_what_it_wants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(InputError, match="no flight"):
        newest_flight()
    with pytest.raises(InputError, match="no drone's orders"):
        orders_in(tmp_path)
    folders = [tmp_path / name for name in ("sextant-swarm-a", "sextant-swarm-b")]
    for age, folder in enumerate(folders):
        folder.mkdir()
        flight(written(tmp_path / "field.map", ["." * 12] * 12), folder)
        for orders in folder.iterdir():
            os.utime(orders, (1000.0 + age, 1000.0 + age))
    assert newest_flight() == folders[1]
    assert [one.name for one in orders_in(folders[1])] == [0, 1]
    (folders[1] / "drone-1.orders.json").write_bytes(
        (folders[0] / "drone-1.orders.json").read_bytes()
    )
    with pytest.raises(InputError, match="more than one mission"):
        orders_in(folders[1])
