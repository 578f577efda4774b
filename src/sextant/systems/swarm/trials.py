"""Two trials of single parts: how fast one may fly at an obstacle, and how soon an auction settles.

Shape suffixes: N drones, T tasks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sextant.systems.swarm.agreement.auction import Auction, Beliefs
from sextant.systems.swarm.world.body import BodyRule
from sextant.systems.swarm.world.grid import Floats, Grid
from sextant.systems.swarm.world.sensors import SensorRule
from sextant.systems.swarm.world.world import World, WorldRule

_SUB_TICKS = 5
_ASIDE_M_S = 60.0
_DISCOUNT = 0.97


@dataclass(frozen=True, kw_only=True, slots=True)
class Dodge:
    """A drone flies at a pillar, sees it at the end of its sight, and goes aside, rest to rest.

    Attributes:
        period_s: of its loop: it looks once a period, and acts one later.
        sensing_m: how far it sees.
        radius_m: its own; the pillar is one metre wide.
        margin_m: by which it goes farther than it must.
        acceleration_m_s2: of the drone.
    """

    period_s: float
    sensing_m: float
    radius_m: float
    acceleration_m_s2: float
    margin_m: float = 0.1

    @property
    def least_m(self) -> float:
        """How far aside it must be when it passes: both radii."""
        return self.radius_m + 0.5

    @property
    def aside_m(self) -> float:
        """How far aside it goes."""
        return self.least_m + self.margin_m


def collisions_at(speed_m_s: float, dodge: Dodge, trials: int) -> int:
    """How many of so many dodges at a speed end in a collision; the phase of the look differs."""
    return sum(_collides(speed_m_s, dodge, trial, trials) for trial in range(trials))


def largest_safe_m_s(collisions: Sequence[tuple[float, int]]) -> float:
    """The highest speed below the first at which something was hit; speeds rise."""
    safe = 0.0
    for speed_m_s, hits in collisions:
        if hits:
            break
        safe = speed_m_s
    return safe


def _collides(speed_m_s: float, dodge: Dodge, trial: int, trials: int) -> bool:
    back_m = dodge.sensing_m + 2.0 + (trial + 0.5) / trials * speed_m_s * dodge.period_s
    # The ground ends out of sight, whatever the sight: its edge must not be taken for the pillar.
    far = math.ceil(dodge.sensing_m) + 4
    row, column = far, far + math.ceil(back_m)
    heights = np.zeros((2 * far + 1, column + far))
    heights[row, column] = 10.0
    pillar_2 = np.array([column + 0.5, row + 0.5])
    body = replace(
        BodyRule(), acceleration_m_s2=dodge.acceleration_m_s2, speed_m_s=2.0 * _ASIDE_M_S
    )
    # Three rays a degree of the pillar: what is within reach is seen.
    sensors = SensorRule(rays=180, reach_m=dodge.sensing_m, dropout_probability=0.0)
    rule = WorldRule(seed=trial, radius_m=dodge.radius_m, body=body, sensors=sensors)
    start_2 = pillar_2 - np.array([back_m, 0.0])
    world = World(Grid(heights_RC=heights, cell_m=1.0), rule, start_2[None], np.empty((0, 2)))
    world.bodies.velocities_N2[0] = (speed_m_s, 0.0)
    half_s = math.sqrt(dodge.aside_m / dodge.acceleration_m_s2)
    seen_s: float | None = None
    while world.bodies.positions_N2[0, 0] < pillar_2[0] + 2.0 and not world.collisions:
        if seen_s is None:
            (readings,) = world.sense([0], frame=False)
            if np.nanmin(readings.ranges_R) < dodge.sensing_m:
                seen_s = world.now_s
        for _ in range(_SUB_TICKS):
            since_s = -1.0 if seen_s is None else world.now_s - seen_s - dodge.period_s
            aside_m_s = _ASIDE_M_S * ((since_s > -1e-9) - 2.0 * (since_s > half_s - 1e-9))
            if since_s > 2.0 * half_s:
                aside_m_s = 0.0
            world.step(np.array([[speed_m_s, aside_m_s]]), dodge.period_s / _SUB_TICKS)
    return bool(world.collisions)


@dataclass(frozen=True, kw_only=True, slots=True)
class Settling:
    """Drones that bid for tasks; times in ticks of `period_s`, as in flight."""

    drones: int
    tasks: int
    period_s: float
    bid_ticks: int
    tell_ticks: int
    side_m: float
    loss_probability: float = 0.0


def settled_s(rule: Settling, seed: int, most_ticks: int = 2000) -> float:
    """From the tasks being put up to everybody believing the same for good."""
    stream = np.random.default_rng(seed)
    places_T2 = rule.side_m * stream.random((rule.tasks, 2))
    drones_N2 = rule.side_m * stream.random((rule.drones, 2))
    auctions = [Auction(name) for name in range(rule.drones)]
    tasks = list(range(rule.tasks))
    mail: list[list[Beliefs]] = [[] for _ in auctions]
    settled = 0
    for tick in range(most_ticks):
        for name, auction in enumerate(auctions):
            for beliefs in mail[name]:
                auction.hear(beliefs, set(tasks))
            mail[name] = []
            if tick % rule.bid_ticks == name % rule.bid_ticks:
                score = _score(drones_N2[name], places_T2)
                auction.rebid(score)
                auction.build(tasks, score)
        for name, auction in enumerate(auctions):
            if tick % rule.tell_ticks == name % rule.tell_ticks:
                told = auction.beliefs((tick + 1) * rule.period_s)
                for other in range(rule.drones):
                    if other != name and stream.random() >= rule.loss_probability:
                        mail[other].append(told)
        if not _agreed(auctions, tasks):
            settled = tick + 1
        elif tick - settled > 4 * (rule.bid_ticks + rule.tell_ticks):
            break
    return (settled + 1) * rule.period_s


def _agreed(auctions: Sequence[Auction], tasks: Sequence[int]) -> bool:
    winners = [[auction.claim(task).winner for task in tasks] for auction in auctions]
    full = all(winner is not None for winner in winners[0])
    return all(one == winners[0] for one in winners) and full


def _score(drone_2: Floats, places_T2: Floats) -> Callable[[Sequence[int], int], float]:
    def score(path: Sequence[int], task: int) -> float:
        stops = np.array([drone_2, *(places_T2[t] for t in path), places_T2[task]])
        far_m = np.hypot(*np.diff(stops, axis=0).T).sum()
        return 100.0 * float(_DISCOUNT**far_m)

    return score
