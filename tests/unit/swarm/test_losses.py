"""A network cut in two, half of the drones lost, nobody heard at the start: the rest finish."""

import numpy as np

from sextant.systems.swarm.agreement.auction import Beliefs, Claim
from sextant.systems.swarm.drone.chart import Chart
from sextant.systems.swarm.drone.perception import MatchedFilter
from sextant.systems.swarm.drone.pilot import Phase, Pilot, PilotRule
from sextant.systems.swarm.mission.stepped import Mission, MissionRule
from sextant.systems.swarm.world.grid import Grid
from sextant.systems.swarm.world.ground import CameraRule
from sextant.systems.swarm.world.sensors import Readings, SensorRule

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


def test_who_stands_among_others_that_it_has_not_heard_yet_does_not_take_them_for_walls() -> None:
    places = np.array([[1.0 + 1.2 * i, 1.0 + 1.2 * j] for i in range(3) for j in range(3)])
    grid = Grid(heights_RC=np.zeros((24, 24)), cell_m=1.0)
    mission = Mission(grid, MissionRule(drones=len(places)), starts_N2=places)
    while mission.world.now_s < 2.5:
        mission.tick(lambda _one, _other: mission.world.now_s >= 0.6)
        assert all(pilot.phase is Phase.SEARCH for pilot in mission.pilots)


def test_who_is_shut_in_waits_as_long_as_others_have_work() -> None:
    chart = Chart(rows=9, columns=9, cell_m=1.0, origin_m=(0.0, 0.0))
    home, camera = np.array([4.5, 4.5]), CameraRule()
    rule = PilotRule(mission=0, name=0, home_2=home, chart=chart, camera=camera)
    pilot = Pilot(rule, MatchedFilter(camera, 99.0))

    def fly(from_s: float, until_s: float, others_work: bool) -> None:
        for at_s in np.arange(from_s, until_s, 0.05).tolist():
            if others_work:
                pilot.auction.hear(
                    Beliefs(sender=1, at_s=at_s, claims={7: Claim(1, 1.0)}, heard_s={}), set()
                )
            readings = Readings(
                at_s=at_s,
                position_2=home,
                velocity_2=np.zeros(2),
                turn=0.0,
                ranges_R=np.full(SensorRule().rays, 0.8),
                patch_PP=np.zeros((camera.pixels, camera.pixels), np.float32),
                battery=1.0,
            )
            pilot.tick(readings, [])

    fly(0.0, 8.0, others_work=True)
    assert pilot.phase is Phase.HOME
    fly(8.0, 11.0, others_work=False)
    assert pilot.phase is Phase.LANDED
