"""Ways down: a low battery goes home by itself, and one peer that hears the operator lands all."""

import json
from pathlib import Path

import numpy as np
import pytest
from flights import flight_over, free_port, until

pytest.importorskip("zenoh")

from sextant.fleet import wire
from sextant.systems.swarm.mission.wire import Keys, pack

LOW = 0.026
"""Of 900 s: 23 s, of which 20 are kept to come home with."""


@pytest.mark.timeout(200)
def test_a_low_battery_goes_home_and_an_abort_at_one_peer_lands_all(tmp_path: Path) -> None:
    flight = flight_over(tmp_path, 40, drones=3, loss=0.2, most_s=120.0, charge={2: LOW})
    orders = json.loads((tmp_path / "drone-2.orders.json").read_bytes())
    operator = None
    try:
        flight.start()
        until(lambda: flight.truth() is not None, "no flight")
        until(lambda: not (flight.truth() or {})["flying"][2], "drone 2 flies on")
        truth = flight.truth()
        assert truth is not None
        assert truth["flying"][:2] == [True, True]
        assert np.hypot(*np.subtract(truth["positions"][2], orders["home_m"])) < 1.0
        # The operator reaches drone 1 and nobody else; the word of it does the rest.
        operator = wire.peer(f"tcp/127.0.0.1:{free_port()}", [flight.endpoint(1)])
        key = Keys(flight.mission).abort

        def aborted() -> bool:
            operator.put(key, pack(True))
            return flight.processes["world"].poll() is not None

        until(aborted, "they do not land")
        figures = flight.watch(lambda _frame: None)
    finally:
        if operator is not None:
            operator.close()
        flight.close()
    reports = [json.loads((tmp_path / f"drone-{name}.json").read_bytes()) for name in range(3)]
    assert [report["aborted"] for report in reports] == [True, True, False]
    assert figures["landed"] == 3
    assert figures["lost_drones"] == 0
    assert figures["collisions"] == 0
    assert figures["coverage"] < 0.95
