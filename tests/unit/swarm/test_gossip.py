"""Who is deaf, gone, or begins anew: the others come by every map all the same."""

import numpy as np
import pytest

from sextant.systems.swarm.agreement.auction import Beliefs
from sextant.systems.swarm.agreement.gossip import Gossip
from sextant.systems.swarm.agreement.neighbours import (
    PROMISE_S,
    Neighbour,
    Neighbours,
    Promise,
    source_of,
)
from sextant.systems.swarm.agreement.shared_map import SharedMap
from sextant.systems.swarm.agreement.words import Word
from sextant.systems.swarm.drone.chart import Chart
from sextant.systems.swarm.drone.perception import MatchedFilter
from sextant.systems.swarm.drone.pilot import Phase, Pilot, PilotRule
from sextant.systems.swarm.world.ground import CameraRule
from sextant.systems.swarm.world.sensors import Readings, SensorRule

CELLS, NONE = 3000, np.empty(0, np.int64)
WORD_S, PATIENCE_S = 0.2, 1.5


class Swarm:
    """Drones that do nothing but map and gossip; words are lost, and the deaf hear none."""

    def __init__(self, drones: int, deaf: set[int], seed: int) -> None:
        self.rng, self.deaf, self.now_s = np.random.default_rng(seed), deaf, 0.0
        self.boots = dict.fromkeys(range(drones), 0)
        self.maps = {name: SharedMap(name, CELLS) for name in range(drones)}
        self.gossips = {
            name: Gossip(name, shared, PATIENCE_S) for name, shared in self.maps.items()
        }

    def restart(self, name: int) -> None:
        self.boots[name] += 1
        self.maps[name] = SharedMap(source_of(name, self.boots[name]), CELLS)
        self.gossips[name] = Gossip(name, self.maps[name], PATIENCE_S)

    def kill(self, name: int) -> None:
        del self.boots[name], self.maps[name], self.gossips[name]

    def round(self, new_cells: int) -> None:
        """Everybody maps some cells, and says a word."""
        self.now_s += WORD_S
        for name, shared in self.maps.items():
            shared.observe(self.rng.choice(CELLS, new_cells, replace=False), NONE, NONE)
            told = self.gossips[name].news(self._alive(name), self.now_s)
            for other in self.maps.keys() - self.deaf - {name}:
                if self.rng.random() >= 0.2:
                    self.maps[other].take(*told)
                    self.gossips[other].hear(name, shared.versions())

    def _alive(self, name: int) -> list[Neighbour]:
        if name in self.deaf:
            return []
        still_2 = np.zeros(2)
        return [
            Neighbour(name=n, boot=b, at_s=self.now_s, position_2=still_2, velocity_2=still_2)
            for n, b in self.boots.items()
            if n != name
        ]


@pytest.mark.parametrize("seed", range(3))
def test_a_deaf_drone_holds_up_nobody_and_who_begins_anew_is_heard(seed: int) -> None:
    swarm = Swarm(5, deaf={0}, seed=seed)
    for _ in range(20):
        swarm.round(new_cells=60)
    swarm.kill(4)
    swarm.restart(2)
    for _ in range(20):
        swarm.round(new_cells=60)
    for _ in range(40):
        swarm.round(new_cells=0)
    sources = {1, 2, 3, 4, source_of(2, 1)}
    known = [swarm.maps[name].versions() for name in (1, 2, 3)]
    assert known[0].keys() == sources
    assert known[0][1] > 1000
    assert known[1] == known[0]
    assert known[2] == known[0]
    # It hears again: nothing that it missed is lost to it.
    swarm.deaf.clear()
    for _ in range(100):
        swarm.round(new_cells=0)
    assert swarm.maps[0].versions() == {**known[0], 0: 2400}
    for name in (1, 2, 3):
        assert swarm.maps[name].versions() == swarm.maps[0].versions()
        np.testing.assert_array_equal(swarm.maps[name].evidence_C, swarm.maps[0].evidence_C)


def test_who_one_drone_cannot_reach_comes_by_its_map_through_another() -> None:
    near, between, far = (SharedMap(name, CELLS) for name in range(3))
    gossip = Gossip(1, between, PATIENCE_S)
    near.observe(np.arange(2000), NONE, NONE)
    still_2 = np.zeros(2)
    for count in range(200):
        between.take(*near.news_for(between.versions(), most=256))
        alive = [
            Neighbour(name=n, at_s=0.0, position_2=still_2, velocity_2=still_2) for n in (0, 2)
        ]
        gossip.hear(0, near.versions())
        gossip.hear(2, far.versions())
        far.take(*gossip.news(alive, WORD_S * count))
    assert far.versions()[0] == near.versions()[0]


def word(at_s: float, heard_s: dict[int, float], *, abort: bool = False) -> bytes:
    still_2 = np.zeros(2)
    beliefs = Beliefs(sender=1, at_s=at_s, claims={}, heard_s=heard_s)
    speaker = Neighbour(name=1, at_s=at_s, position_2=still_2, velocity_2=still_2)
    return Word(speaker=speaker, mission=3, abort=abort, beliefs=beliefs).pack()


def test_a_word_of_a_time_to_come_is_not_believed_but_an_abort_in_it_is_obeyed() -> None:
    camera, home_2 = CameraRule(), np.array([4.5, 4.5])
    chart = Chart(rows=9, columns=9, cell_m=1.0, origin_m=(0.0, 0.0))
    rule = PilotRule(mission=3, name=0, home_2=home_2, chart=chart, camera=camera)
    pilot = Pilot(rule, MatchedFilter(camera, 99.0))

    def hear(at_s: float, body: bytes) -> Phase:
        readings = Readings(
            at_s=at_s,
            position_2=home_2,
            velocity_2=np.zeros(2),
            turn=0.0,
            ranges_R=np.full(SensorRule().rays, np.inf),
            patch_PP=None,
            battery=1.0,
        )
        return pilot.tick(readings, [body]).phase

    hear(1.0, word(1e9, {}))
    assert pilot.hears() == []
    # Who only passes on what a wrong clock said is heard.
    hear(1.05, word(1.04, {2: 1e9}))
    assert pilot.hears() == [1]
    assert 2 not in pilot.auction.beliefs(1.1).heard_s
    hear(1.1, word(1.06, {2: 1.0}))
    assert pilot.hears() == [1]
    assert pilot.auction.beliefs(1.1).heard_s[2] == 1.0
    assert hear(1.15, word(1e9, {}, abort=True)) is Phase.LANDED


def test_a_promise_by_a_clock_that_is_ahead_ends_no_later_than_it_was_heard() -> None:
    still_2, known = np.zeros(2), Neighbours(fresh_s=1.5)

    def said(at_s: float, x: float) -> Neighbour:
        place_2 = np.array([x, 0.0])
        return Neighbour(
            name=1, at_s=at_s, position_2=place_2, velocity_2=still_2, promise=Promise(veer_m_s=1.0)
        )

    known.hear(said(10.4, 1.0), 10.0)
    # One that was said before it, and comes later.
    known.hear(said(10.2, 2.0), 10.05)
    (heard,) = known.alive(10.1)
    assert heard.position_2[0] == 1.0
    assert heard.fastest(10.0 + 0.9 * PROMISE_S, 3.0) == 1.0
    assert heard.fastest(10.0 + 1.1 * PROMISE_S, 3.0) == 3.0


def test_who_must_go_home_puts_up_its_tasks_again() -> None:
    camera, home_2 = CameraRule(), np.array([1.5, 1.5])
    chart = Chart(rows=30, columns=30, cell_m=1.0, origin_m=(0.0, 0.0))
    rule = PilotRule(mission=3, name=0, home_2=home_2, chart=chart, camera=camera)
    pilot = Pilot(rule, MatchedFilter(camera, 99.0))

    def fly(begin_s: float, battery: float) -> None:
        for tick in range(20):
            readings = Readings(
                at_s=begin_s + 0.05 * tick,
                position_2=np.array([4.5, 1.5]),
                velocity_2=np.zeros(2),
                turn=0.0,
                ranges_R=np.full(SensorRule().rays, np.inf),
                patch_PP=None,
                battery=battery,
            )
            pilot.tick(readings, [])

    fly(0.0, 1.0)
    assert pilot.auction.bundle
    fly(1.0, 0.01)
    assert pilot.phase is Phase.HOME
    assert not pilot.auction.bundle
    assert all(claim.winner != 0 for claim in pilot.auction.beliefs(2.0).claims.values())
