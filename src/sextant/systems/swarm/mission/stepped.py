"""A mission in one process and in lock step: deterministic under a seed, as fast as it goes.

The drones share nothing here either: what one says reaches another as bytes, or is lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sextant.systems.swarm.drone.perception import Detector
from sextant.systems.swarm.drone.pilot import Phase, Pilot, PilotRule
from sextant.systems.swarm.drone.safety import SafetyRule
from sextant.systems.swarm.drone.telling import telling
from sextant.systems.swarm.mission.places import chart_of, reach, starts_on
from sextant.systems.swarm.mission.record import FRAME_S, frame_line, start_line
from sextant.systems.swarm.placement.link import Link, LinkRule
from sextant.systems.swarm.world.grid import Floats, Grid
from sextant.systems.swarm.world.world import Collision, World, WorldRule

_FRAME_TICKS = 4
_SUB_TICKS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class MissionRule:
    """A mission to fly.

    Attributes:
        drones: how many.
        num_targets: lie hidden on the ground.
        loss_probability: a word is lost on its way to one hearer.
        most_s: the mission is ended after so long.
        period_s: of the control loop; a setpoint that is not there within one is a miss.
        brain: the link to each drone's brain; on board it takes no time.
    """

    drones: int = 4
    num_targets: int = 6
    loss_probability: float = 0.0
    most_s: float = 600.0
    period_s: float = 0.05
    brain: LinkRule = field(default_factory=LinkRule)
    world: WorldRule = field(default_factory=WorldRule)


@dataclass(frozen=True, kw_only=True, slots=True)
class Flown:
    """What a mission came to.

    Attributes:
        coverage: share of the cells that can be reached which a camera has seen.
        time_to_95_s: when coverage passed 0.95; None if it never did.
        targets_found: targets with a confirmed estimate within a metre.
        false_alarms: confirmed estimates of nothing.
        words_bytes: said by all drones.
        link_bytes: between drones and brains that are not on board.
        missed_deadlines: ticks without a setpoint from that tick's readings in time.
        loop_p50_s: of a tick of one drone, on this machine.
        lost: drones that were killed.
        curve: (time, coverage), a point a frame.
    """

    seconds: float
    coverage: float
    time_to_95_s: float | None
    targets: int
    targets_found: int
    false_alarms: int
    collisions: tuple[Collision, ...]
    least_gap_m: float
    landed: int
    words_bytes: int
    link_bytes: int
    missed_deadlines: int
    loop_p50_s: float
    loop_p99_s: float
    lost: int
    curve: tuple[tuple[float, float], ...]


class Mission:
    """A mission in lock step."""

    def __init__(
        self,
        grid: Grid,
        rule: MissionRule,
        starts_N2: Floats | None = None,
        detector: Detector | None = None,
    ) -> None:
        """Place drones and targets.

        Raises:
            InputError: a start is inside a wall, or there are more drones than places.
        """
        self.rule = rule
        safety = SafetyRule(
            radius_m=rule.world.radius_m,
            speed_m_s=rule.world.body.speed_m_s,
            late_s=0.0 if rule.brain == LinkRule() else rule.period_s,
        )
        layer, self.chart = grid.layer(rule.world.altitude_m), chart_of(grid)
        seed = rule.world.seed
        if starts_N2 is None:
            starts_N2 = starts_on(layer, self.chart, rule.drones, safety, seed)
        clearance_m = safety.radius_m + safety.margin_m
        self.reach = reach(layer, self.chart, starts_N2, clearance_m)
        self.reachable_C = self.reach.cells_C
        places = self.chart.centres(np.flatnonzero(self.reachable_C))
        picked = np.random.default_rng((seed, 8)).permutation(len(places))[: rule.num_targets]
        self.world = World(grid, rule.world, starts_N2, places[picked])
        self.pilots = [
            Pilot(
                PilotRule(
                    mission=seed,
                    name=name,
                    home_2=home_2,
                    chart=self.chart,
                    period_s=rule.period_s,
                    battery_s=rule.world.body.battery_s,
                    safety=safety,
                    sensors=rule.world.sensors,
                    camera=rule.world.camera,
                ),
                detector,
            )
            for name, home_2 in enumerate(starts_N2)
        ]
        self.alive = [True] * len(self.pilots)
        self.words_bytes = 0
        self._mail: list[list[bytes]] = [[] for _ in self.pilots]
        self._link = np.random.default_rng((seed, 7))
        self._ticks = 0
        self._links = [
            Link(rule.brain, np.random.default_rng((seed, 10, name)))
            for name in range(len(self.pilots))
        ]
        self._loops_s: list[float] = []
        self._last_loops_s: dict[int, float] = {}
        self._missed = 0
        self._shown_C = np.zeros(self.chart.num_cells, np.bool_)

    def fly(self, each_frame: Callable[[Mission], None] = lambda _mission: None) -> Flown:
        """Fly until all have landed, or the time is up."""
        curve = [(0.0, 0.0)]
        frame_ticks = max(1, round(FRAME_S / self.rule.period_s))
        while self.world.now_s < self.rule.most_s and self.flying():
            self.tick()
            if self._ticks % frame_ticks == 0:
                curve.append((self.world.now_s, self.coverage()))
                each_frame(self)
        return self._flown(curve)

    def flying(self) -> list[int]:
        """The drones in the air that are alive."""
        return [i for i, up in enumerate(self.world.flying_N) if up and self.alive[i]]

    def kill(self, drone: int) -> None:
        """A drone fails: it comes down and says nothing more."""
        self.alive[drone] = False
        self.world.land(drone)

    def coverage(self) -> float:
        """The share of the reachable cells that a living drone knows some camera has seen; what
        only the dead knew is lost.
        """
        seen_C = self._seen()
        return float((seen_C & self.reachable_C).sum() / max(1, self.reachable_C.sum()))

    def _seen(self) -> np.ndarray:
        knowing = [
            p.shared.seen_C for p, alive in zip(self.pilots, self.alive, strict=True) if alive
        ]
        return np.asarray(np.any(knowing, axis=0)) if knowing else np.zeros_like(self._shown_C)

    def loop_s(self, percentile: float) -> float:
        """A percentile of what a tick of one drone took so far."""
        return float(np.percentile(self._loops_s or [0.0], percentile))

    def tick(self, connected: Callable[[int, int], bool] = lambda _one, _other: True) -> None:
        """One control period for all; `connected` says who hears whom."""
        present = self.flying()
        words: dict[int, bytes] = {}
        seen = self.world.sense(present, frame=self._ticks % _FRAME_TICKS == 0)
        for drone, readings in zip(present, seen, strict=True):
            self._links[drone].send_up(readings)
            self._think(drone, words)
        self._deliver(words, present, connected)
        self._move(present)
        self._ticks += 1

    def _think(self, drone: int, words: dict[int, bytes]) -> None:
        """Let a drone's brain act on what has reached it by the end of the period."""
        link = self._links[drone]
        arrived = link.at_brain(self.world.now_s + self.rule.period_s - 1e-6)
        if arrived is None:
            return
        at_s, readings = arrived
        mail, self._mail[drone] = self._mail[drone], []
        begun_s = time.perf_counter()
        act = self.pilots[drone].tick(readings, mail)
        self._last_loops_s[drone] = time.perf_counter() - begun_s
        self._loops_s.append(self._last_loops_s[drone])
        link.send_down(at_s, readings.at_s, act.setpoint_2)
        if act.word is not None:
            words[drone] = act.word
        if act.phase is Phase.LANDED:
            self.world.land(drone)

    def _move(self, present: Sequence[int]) -> None:
        """Let the period pass, each drone flying by the setpoint that it has, or stopping."""
        begin_s, period_s = self.world.now_s, self.rule.period_s
        latest = dict.fromkeys(present, -np.inf)
        for part in range(_SUB_TICKS):
            setpoints_N2 = np.zeros((len(self.pilots), 2))
            for drone in present:
                come = self._links[drone].at_drone(begin_s + part * period_s / _SUB_TICKS)
                if come is not None:
                    latest[drone] = come[0]
                    # What was made of readings from before the last period is stale: stop.
                    if begin_s - come[0] < 1.5 * period_s:
                        setpoints_N2[drone] = come[1]
            self.world.step(setpoints_N2, period_s / _SUB_TICKS)
        self._missed += sum(made_s < begin_s - 1e-6 for made_s in latest.values())

    def start_line(self) -> dict[str, Any]:
        """The first line of a record of this flight."""
        targets = self.world.ground.targets_T2
        return start_line(self.chart, self.world.layer, self.reach, targets, len(self.pilots))

    def frame(self) -> dict[str, Any]:
        """The line of a record for now."""
        share, seen_C = self.coverage(), self._seen()
        fresh = np.flatnonzero(seen_C & ~self._shown_C)
        self._shown_C |= seen_C
        up, at_N2 = self.flying(), self.world.bodies.positions_N2
        return frame_line(
            self.world.now_s,
            share,
            fresh,
            {drone: at_N2[drone] for drone in up},
            [telling(self.pilots[drone], self._last_loops_s.get(drone, 0.0)) for drone in up],
            len(self.world.collisions),
        )

    def _deliver(
        self,
        words: dict[int, bytes],
        present: Sequence[int],
        connected: Callable[[int, int], bool],
    ) -> None:
        for speaker, word in words.items():
            self.words_bytes += len(word)
            for hearer in present:
                arrives = self._link.random() >= self.rule.loss_probability
                if hearer != speaker and arrives and connected(speaker, hearer):
                    self._mail[hearer].append(word)

    def _flown(self, curve: list[tuple[float, float]]) -> Flown:
        targets = self.world.ground.targets_T2
        found = [spot for i in range(len(self.pilots)) for spot in self._confirmed(i)]
        near = [min((float(np.hypot(*(t - f))) for f in found), default=9.9) < 1.0 for t in targets]
        false = {
            tuple(np.round(spot))
            for spot in found
            if min((float(np.hypot(*(t - spot))) for t in targets), default=9.9) >= 1.0
        }
        return Flown(
            seconds=self.world.now_s,
            coverage=self.coverage(),
            time_to_95_s=next((at_s for at_s, share in curve if share >= 0.95), None),
            targets=len(targets),
            targets_found=sum(near),
            false_alarms=len(false),
            collisions=tuple(self.world.collisions),
            least_gap_m=self.world.least_gap_m,
            landed=int((~self.world.flying_N).sum()),
            words_bytes=self.words_bytes,
            link_bytes=self._link_bytes(),
            missed_deadlines=self._missed,
            loop_p50_s=self.loop_s(50),
            loop_p99_s=self.loop_s(99),
            lost=self.alive.count(False),
            curve=tuple(curve),
        )

    def _link_bytes(self) -> int:
        """What went over links to brains elsewhere."""
        remote = self.rule.brain != LinkRule()
        return sum(link.num_bytes for link in self._links) if remote else 0

    def _confirmed(self, drone: int) -> list[Floats]:
        return self.pilots[drone].targets.confirmed() if self.alive[drone] else []
