"""A brain behind a link: what arrives, what is overtaken, what is lost."""

import numpy as np
import pytest

from sextant.systems.swarm.mission.stepped import Mission, MissionRule
from sextant.systems.swarm.placement.link import Link, LinkRule
from sextant.systems.swarm.world.grid import Grid
from sextant.systems.swarm.world.sensors import Readings

FIELD = Grid(heights_RC=np.zeros((12, 12)), cell_m=1.0)


def reading(at_s: float) -> Readings:
    return Readings(
        at_s=at_s,
        position_2=np.zeros(2),
        velocity_2=np.zeros(2),
        turn=0.0,
        ranges_R=np.full(8, np.inf),
        patch_PP=None,
        battery=1.0,
    )


def test_readings_arrive_after_half_a_round_trip_and_once() -> None:
    link = Link(LinkRule(round_trip_s=0.2), np.random.default_rng(0))
    link.send_up(reading(0.0))
    link.send_up(reading(0.05))
    assert link.at_brain(0.09) is None
    arrived = link.at_brain(0.16)
    assert arrived is not None
    assert arrived[1].at_s == 0.05
    assert link.at_brain(1.0) is None


def test_an_outage_lets_nothing_pass() -> None:
    link = Link(LinkRule(outage_s=(1.0, 2.0)), np.random.default_rng(0))
    link.send_up(reading(1.5))
    assert link.at_brain(9.0) is None
    link.send_up(reading(2.0))
    assert link.at_brain(9.0) is not None


@pytest.mark.parametrize(("trip_s", "flies"), [(0.0, True), (0.008, True), (0.075, False)])
def test_a_brain_must_answer_within_the_period(trip_s: float, flies: bool) -> None:
    rule = MissionRule(drones=2, most_s=3.0, brain=LinkRule(round_trip_s=trip_s))
    mission = Mission(FIELD, rule)
    begin = mission.world.bodies.positions_N2.copy()
    flown = mission.fly()
    moved = float(np.hypot(*(mission.world.bodies.positions_N2 - begin).T).max())
    assert (flown.missed_deadlines == 0) is flies
    assert (moved > 0.5) or not flies
    assert not flown.collisions
