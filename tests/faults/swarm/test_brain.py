"""A brain behind a link: in time it is flown by, late it is not, and killed it stops everybody."""

import json
from pathlib import Path

import numpy as np
import pytest
from flights import flight_over, until

pytest.importorskip("zenoh")

from sextant.systems.swarm.mission.orders import LinkOrders


@pytest.mark.timeout(200)
def test_drones_fly_by_a_brain_in_time_stop_without_one_and_land(tmp_path: Path) -> None:
    flight = flight_over(
        tmp_path, 30, drones=2, most_s=120.0, link=LinkOrders(round_trip_s=0.004), lost_link_s=6.0
    )

    def counts() -> tuple[int, int]:
        told = flight.counts().values()
        return sum(ticks for ticks, _ in told), sum(missed for _, missed in told)

    def positions() -> np.ndarray:
        truth = flight.truth()
        assert truth is not None
        return np.array(truth["positions"])

    try:
        flight.start()
        until(lambda: flight.coverage() > 0.02, "nothing was seen")
        begin_N2 = positions()
        flight.shape(0.2)
        ticks, missed = counts()
        until(lambda: counts()[0] > ticks + 30, "no ticks")
        # Four periods away, nothing comes in time but what was on its way.
        late = counts()
        assert late[1] - missed >= 0.5 * (late[0] - ticks)
        flight.shape(0.0)
        answered = (late[0] - late[1]) + 20
        until(lambda: counts()[0] - counts()[1] > answered, "a near brain is not flown by again")
        until(lambda: bool((positions() != begin_N2).any()), "nothing moves")
        flight.kill("brain")
        figures = flight.watch(lambda _frame: None)
    finally:
        flight.close()
    reports = [json.loads((tmp_path / f"drone-{name}.json").read_bytes()) for name in (0, 1)]
    assert [report["link_lost"] for report in reports] == [True, True]
    assert figures["landed"] == 2
    assert figures["collisions"] == 0
    assert figures["coverage"] < 0.9
    assert figures["bytes"] > 10_000
