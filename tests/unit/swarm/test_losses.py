"""A network cut in two, and half of the drones lost: the rest agree again, and finish."""

import numpy as np

from sextant.systems.swarm.mission.stepped import Mission, MissionRule
from sextant.systems.swarm.world.grid import Grid

_CUT_S, _JOIN_S, _EQUAL_S = 1.0, 4.0, 5.0


def test_two_halves_agree_once_joined_and_half_of_the_drones_finish() -> None:
    grid = Grid(heights_RC=np.zeros((20, 20)), cell_m=1.0)
    mission = Mission(grid, MissionRule(drones=4, loss_probability=0.2, most_s=90.0))

    def connected(one: int, other: int) -> bool:
        apart = _CUT_S <= mission.world.now_s < _JOIN_S
        return not apart or one % 2 == other % 2

    def versions() -> list[dict[int, int]]:
        return [pilot.shared.versions() for pilot in mission.pilots]

    while mission.world.now_s < _JOIN_S:
        mission.tick(connected)
    known = {s: max(told.get(s, 0) for told in versions()) for s in range(4)}
    assert any(told.get(s, 0) < upto for told in versions() for s, upto in known.items())
    while mission.world.now_s < _JOIN_S + _EQUAL_S:
        mission.tick()
    assert all(told.get(s, 0) >= upto for told in versions() for s, upto in known.items())
    mission.kill(1)
    mission.kill(2)
    flown = mission.fly()
    assert flown.coverage >= 0.95
    assert flown.lost == 2
    assert not flown.collisions
