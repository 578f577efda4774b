"""A drone that fails at the start ends the flight at once, with what it said last."""

from pathlib import Path

import pytest
from flights import flight_over

pytest.importorskip("zenoh")

from sextant.errors import EngineError


@pytest.mark.timeout(100)
def test_a_drone_that_fails_at_the_start_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    flight = flight_over(tmp_path, 12, drones=2, most_s=20.0)
    (tmp_path / "drone-1.orders.json").write_text('{"mission": 1}')
    try:
        flight.start()
        with pytest.raises(EngineError, match=r"(?s)drone-1 failed: error:.*name: Field required"):
            flight.watch(lambda _frame: None)
    finally:
        flight.close()
