"""How far away a brain may be: the bisection, what leaves late, and the plan beside it."""

import threading
import time
from pathlib import Path

import pytest

from sextant.systems.swarm.placement.bench import break_even_row, field
from sextant.systems.swarm.placement.bisect import Search, bisect
from sextant.systems.swarm.placement.late import LateSender
from sextant.systems.swarm.placement.link import LinkRule
from sextant.systems.swarm.world.maps import read_map

SEARCH = Search(period_s=0.05, highest_s=0.1)


@pytest.mark.parametrize("longest_s", [0.002, 0.031, 0.09])
def test_bisection_finds_the_longest_round_trip(longest_s: float) -> None:
    found = bisect(lambda trip_s: float(trip_s > longest_s), SEARCH)
    assert found is not None
    low_s, high_s = found
    assert low_s <= longest_s < high_s
    assert high_s - low_s == pytest.approx(SEARCH.highest_s / 2**SEARCH.steps)


def test_a_brain_too_slow_on_the_spot_has_no_break_even() -> None:
    assert bisect(lambda _trip_s: 0.5, SEARCH) is None
    row = break_even_row(SEARCH, None, perceive_s=0.04, decide_s=0.03)
    assert row["measured_s"] is None
    assert row["predicted_s"] == pytest.approx(-0.02)


def test_the_textbook_s_example_is_in_the_row() -> None:
    row = break_even_row(SEARCH, (0.03, 0.032), perceive_s=0.002, decide_s=0.01)
    assert row["edge"]["left_to_perceive_and_plan_s"] == 0.042
    assert row["edge"]["predicted_in_time"]
    assert row["edge"]["measured_in_time"]
    assert [one["predicted_in_time"] for one in row["cloud"]] == [False, False]
    assert [one["measured_in_time"] for one in row["cloud"]] == [False, False]
    slow = Search(period_s=2.0, highest_s=4.0)
    row = break_even_row(slow, (1.9, 1.96), perceive_s=0.002, decide_s=0.01)
    assert [one["predicted_in_time"] for one in row["cloud"]] == [True, True]


def test_a_late_sender_holds_back_overtakes_and_loses() -> None:
    got: list[tuple[float, bytes]] = []
    come = threading.Event()

    def put(_key: str, body: bytes) -> None:
        got.append((time.monotonic(), body))
        if body == b"late":
            come.set()

    sender = LateSender(put, LinkRule(round_trip_s=2.0, outage_s=(5.0, 6.0)), seed=0)
    begun_s = time.monotonic()
    sender.send("key", b"late", 0.0)
    sender.send("key", b"never", 5.5)
    sender.shape(LinkRule())
    sender.send("key", b"at once", 0.1)
    assert come.wait(20.0)
    sender.close()
    assert [body for _, body in got] == [b"at once", b"late"]
    assert got[1][0] - begun_s >= 0.1
    assert sender.num_bytes == 16


def test_the_field_can_be_flown(tmp_path: Path) -> None:
    grid = read_map(field(tmp_path / "field.map", 12), cell_m=None)
    assert grid.heights_RC.shape == (12, 12)
    assert (grid.heights_RC > 0).sum() == 4
