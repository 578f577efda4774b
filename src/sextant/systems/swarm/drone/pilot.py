"""One drone, tick by tick: perceive, map, agree, plan, control.

The pilot is a step machine: its own readings, its peers' words and the time go in; a velocity
setpoint and one word come out. It knows no process, no clock and no network, so the same code flies
stepped in one process, on a computer of its own, and behind a link.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from sextant.errors import InputError
from sextant.systems.swarm.agreement.auction import Auction
from sextant.systems.swarm.agreement.gossip import Gossip
from sextant.systems.swarm.agreement.neighbours import (
    Neighbour,
    Neighbours,
    nearest_m,
    source_of,
)
from sextant.systems.swarm.agreement.shared_map import Change, SharedMap
from sextant.systems.swarm.agreement.targets import Targets
from sextant.systems.swarm.agreement.words import Word
from sextant.systems.swarm.drone.bids import Bids
from sextant.systems.swarm.drone.chart import Chart, footprint, scan
from sextant.systems.swarm.drone.manners import Manners, Standing
from sextant.systems.swarm.drone.obstacles import Obstacles
from sextant.systems.swarm.drone.perception import Detector, OnnxDetector
from sextant.systems.swarm.drone.planner import Planner, Ways
from sextant.systems.swarm.drone.promises import Promises
from sextant.systems.swarm.drone.safety import Going, SafetyRule, nearest_allowed
from sextant.systems.swarm.drone.trim import Trim
from sextant.systems.swarm.world.grid import Floats
from sextant.systems.swarm.world.ground import CameraRule
from sextant.systems.swarm.world.sensors import Readings, SensorRule


class Phase(StrEnum):
    """What a drone is about."""

    SEARCH = "search"
    HOME = "home"
    LANDED = "landed"


@dataclass(frozen=True, kw_only=True, slots=True)
class PilotRule:
    """How a drone flies its mission; times in ticks are of `period_s`.

    Attributes:
        mission: names the mission; words of another are not heard.
        name: the drone's number.
        boot: another at each start, so that nobody takes it for what it was before.
        home_2: where it lands at the end.
        chart: the geofence.
        battery_s: how long a full battery hovers.
        fresh_s: who is silent for longer counts as gone; nor is all known to who listened less.
    """

    mission: int
    name: int
    home_2: Floats
    chart: Chart
    period_s: float = 0.05
    battery_s: float = 900.0
    fresh_s: float = 1.5
    boot: int = 0
    safety: SafetyRule = field(default_factory=SafetyRule)
    sensors: SensorRule = field(default_factory=SensorRule)
    camera: CameraRule = field(default_factory=CameraRule)


@dataclass(frozen=True, kw_only=True, slots=True)
class Act:
    """What comes out of a tick; not every tick has a word to say."""

    setpoint_2: Floats
    phase: Phase
    word: bytes | None


PLAN_TICKS, WORD_TICKS, VERSION_TICKS = 8, 2, 4
"""A drone plans, bids and says what it believes; says a word while somebody is near; and says one
in any case, with what it knows of the map, once in so many ticks."""
NEAR_M = 3.0
"""Who is farther off need not hear so often where one flies."""
_MAP_TICKS = 4
_TARGET_TICKS = 10

_STUCK_S = 2.5
_DONE_S = 2.0
_RESERVE_S = 20.0
_ARRIVED_M = 0.4
_APART_M = 0.15
_WAY_M = 6.0
_WAY_POINTS = 6


class Pilot:
    """One drone's mind."""

    def __init__(self, rule: PilotRule, detector: Detector | None = None) -> None:
        self.rule = rule
        self.phase = Phase.SEARCH
        source = source_of(rule.name, rule.boot)
        self.shared = SharedMap(source, rule.chart.num_cells)
        self.targets = Targets(source)
        self.auction = Auction(rule.name)
        self.aborted = False
        self._detector = detector or OnnxDetector(rule.camera)
        self._obstacles = Obstacles(rule.safety, rule.sensors)
        self._neighbours = Neighbours(rule.fresh_s)
        self._gossip = Gossip(rule.name, self.shared, rule.fresh_s)
        clearance_m = rule.safety.radius_m + rule.safety.margin_m
        self._planner = Planner(rule.chart, self.shared, clearance_m)
        self._bids = Bids(rule.chart, self._planner)
        self._promises = Promises(rule.safety)
        self._manners = Manners(rule.name, rule.chart, 2.0 * clearance_m + _APART_M)
        self._standing = Standing(rank=float(rule.name), blocked=False, aside=None)
        self._setpoint_2 = self._wish_2 = np.zeros(2)
        self._trim = Trim(rule.period_s)
        self._ways: Ways | None = None
        self._cells: dict[int, int] = {}
        self._goal: int | None = None
        self._tick = self._map_tick = 0
        self._last_s, self._last_2 = 0.0, rule.home_2
        self._last_far: tuple[float, Floats] | None = None
        self._idle_s: float | None = None
        self._begun_s = np.inf
        self._low = self._helps = False

    def tick(
        self,
        readings: Readings,
        words: Iterable[bytes],
        stage: Callable[[str], AbstractContextManager[object]] = lambda _name: nullcontext(),
    ) -> Act:
        """One tick.

        Args:
            readings: the drone's own.
            words: what came from its peers since the last tick.
            stage: opened around each stage, for whoever keeps books of time.
        """
        self._last_s, self._last_2 = readings.at_s, readings.position_2
        with stage("perceive"):
            self._perceive(readings)
        with stage("map"):
            if self._tick >= self._map_tick or readings.patch_PP is not None:
                self._map_tick = self._tick + _MAP_TICKS
                self._map(readings)
        with stage("agree"):
            self._hear(words, readings.at_s)
        with stage("plan"):
            if self._tick % PLAN_TICKS == self.rule.name % PLAN_TICKS or self._ways is None:
                self._plan(readings)
        with stage("control"):
            self._setpoint_2 = self._control(readings)
        with stage("speak"):
            word = None
            if self._speaks(readings):
                word = self._speak(readings.at_s, readings.position_2, readings.velocity_2)
        self._tick += 1
        setpoint_2 = self._trim.flown(self._setpoint_2, readings.velocity_2)
        return Act(setpoint_2=setpoint_2, phase=self.phase, word=word)

    def abort(self) -> None:
        """Everybody shall land, wherever they are."""
        self.aborted = True

    def goal_point(self) -> list[float] | None:
        """Where it flies to, for whoever draws it."""
        goal = self._heading()
        if goal is None:
            return None
        return [round(at, 2) for at in self.rule.chart.centres(np.array(goal)).tolist()]

    def task_points(self) -> list[list[float]]:
        """Where the tasks are that it has won, in the order in which it flies to them."""
        cells = [self._cells[task] for task in self.auction.bundle if task in self._cells]
        points_N2 = self.rule.chart.centres(np.array(cells, np.int64))
        return [[round(x, 2), round(y, 2)] for x, y in points_N2.tolist()]

    def hears(self) -> list[int]:
        """Whom it has heard of late."""
        return sorted(n.name for n in self._neighbours.alive(self._last_s))

    def last_word(self) -> bytes:
        """What it has to say once it has landed, a little later than anything before."""
        return self._speak(self._last_s + 1e-3, self._last_2, np.zeros(2))

    def _perceive(self, readings: Readings) -> None:
        if readings.patch_PP is not None:
            for sighting in self._detector.detect(readings.patch_PP):
                self.targets.see(readings.position_2 + sighting.offset_2)

    def _map(self, readings: Readings) -> None:
        free, hit = scan(self.rule.chart, readings, self.rule.sensors)
        self._begun_s = min(self._begun_s, readings.at_s)
        if readings.at_s - self._begun_s < self.rule.fresh_s:
            # It may be a drone not heard yet; one walled in by such would take its work for done.
            hit = hit[:0]
        others = self._neighbours.alive(readings.at_s)
        if others and len(hit):
            # What flies is no wall: hits near a neighbour are of it.
            gaps = self.rule.chart.centres(hit)[:, None] - [n.position_2 for n in others]
            reach_m = 3 * self.rule.safety.radius_m + self.rule.chart.cell_m
            hit = hit[(gaps**2).sum(axis=2).min(axis=1) > reach_m**2]
        seen = np.empty(0, np.int64)
        if readings.patch_PP is not None:
            error_m = self.rule.sensors.position_error_m
            view_m = self.rule.camera.view_m - 2 * self.rule.camera.target_m
            seen = footprint(self.rule.chart, readings.position_2, view_m, error_m)
        self.shared.observe(free, hit, seen)

    def _hear(self, words: Iterable[bytes], now_s: float) -> None:
        changes: list[Change] = []
        open_tasks = set(self._cells)
        for body in words:
            try:
                word = Word.unpack(body, self.rule.chart.num_cells)
            except InputError:
                continue
            if word.mission != self.rule.mission or word.speaker.name == self.rule.name:
                continue
            self.aborted |= word.abort
            latest_s = now_s + self.rule.fresh_s
            if word.speaker.at_s > latest_s:
                continue  # Of a time to come; believed, it would count as the newest until then.
            self._neighbours.hear(word.speaker, now_s)
            changes += word.changes
            if word.versions is not None:
                self._gossip.hear(word.speaker.name, word.versions)
            if word.beliefs is not None:
                self.auction.hear(word.beliefs.until(latest_s), open_tasks)
            self.targets.take(word.estimates)
        self.shared.take(*changes)
        self.auction.forget(self._neighbours.gone(now_s))

    def _plan(self, readings: Readings) -> None:
        still_N2 = np.array(
            [
                n.position_2
                for n in self._neighbours.alive(readings.at_s)
                if np.hypot(*n.velocity_2) < 0.3
            ]
        ).reshape(-1, 2)
        avoid_m = 2.5 * self.rule.safety.radius_m
        self._ways = self._planner.ways(readings.position_2, still_N2, avoid_m)
        self._cells = self._planner.tasks(self._planner.work(self._ways), self._ways)
        self._choose(readings)
        self._standing = self._manners.settle(
            readings.at_s,
            readings.position_2,
            self._goal,
            self._ways,
            self._neighbours.alive(readings.at_s),
            helps=self._helps,
        )

    def _choose(self, readings: Readings) -> None:
        """Take part in the auction, and set the goal that follows from it."""
        now_s, ways = readings.at_s, self._ways
        assert ways is not None
        self.auction.keep(set(self._cells))
        others = self._neighbours.alive(now_s)
        self._turn_home(readings)
        share = self._bids.share(self._cells, ways, others)
        score = self._bids.scores(now_s, self._cells, ways, share)
        if self._low:
            self.auction.give_up()
        else:
            self.auction.rebid(score)
            self.auction.build(sorted(self._cells), score, bidders=1 + len(others))
        if self._stuck(readings) and self.auction.bundle:
            self._bids.shun(self.auction.bundle[0], now_s)
        self._helps = not self.auction.bundle and not self._low
        if self.phase is Phase.HOME:
            home = int(self.rule.chart.cells(self.rule.home_2))
            self._goal = home if np.isfinite(ways.metres_C[home]) else None
        else:
            # Who has won none helps with what would be its own.
            first = self.auction.bundle[0] if self.auction.bundle else share
            self._goal = None if first is None else self._cells[first]

    def _turn_home(self, readings: Readings) -> None:
        """Go home when nothing has been left for a while, or when the battery says so."""
        assert self._ways is not None
        if self._cells:
            self._idle_s = None
        elif self._idle_s is None:
            self._idle_s = readings.at_s
        done = self._idle_s is not None and readings.at_s - self._idle_s > _DONE_S
        home = int(self.rule.chart.cells(self.rule.home_2))
        far_m = float(self._ways.metres_C[home])
        needed_s = 2.0 * far_m / self.rule.safety.speed_m_s + _RESERVE_S
        left_s = readings.battery * self.rule.battery_s
        self._low = bool(np.isfinite(far_m)) and left_s < needed_s
        if self.phase is Phase.SEARCH and (done or self._low):
            self.phase = Phase.HOME
        elif self.phase is Phase.HOME and self._cells and not self._low:
            # Somebody else's map brought news of work.
            self.phase = Phase.SEARCH

    def _stuck(self, readings: Readings) -> bool:
        """Whether it wants to get somewhere and has not for a while."""
        if self._goal is None or self._last_far is None:
            self._last_far = (readings.at_s, readings.position_2)
            return False
        since_s, from_2 = self._last_far
        if np.hypot(*(readings.position_2 - from_2)) > 0.5:
            self._last_far = (readings.at_s, readings.position_2)
            return False
        if readings.at_s - since_s < _STUCK_S:
            return False
        self._last_far = (readings.at_s, readings.position_2)
        return True

    def _control(self, readings: Readings) -> Floats:
        rule, now_s, at_2 = self.rule.safety, readings.at_s, readings.position_2
        others = self._obstacles.heeded(self._neighbours.alive(now_s), at_2, now_s)
        self._obstacles.take(readings, others)
        home_m = float(np.hypot(*(at_2 - self.rule.home_2)))
        # Who sees nothing left to do may be shut in; as long as others have work it can wait.
        needless = self._low or now_s - self.auction.work_s > self.rule.fresh_s
        if self.aborted or (self.phase is Phase.HOME and home_m < _ARRIVED_M and needless):
            self.phase = Phase.LANDED
        if self.phase is Phase.LANDED:
            return np.zeros(2)
        wanted_2, goal = np.zeros(2), self._heading()
        if goal is not None and self._ways is not None:
            point_2 = self._planner.ahead(at_2, self._ways, goal)
            way_2 = point_2 - at_2
            far_m = float(np.hypot(*way_2))
            wanted_2 = way_2 / max(far_m, 1e-9) * min(rule.speed_m_s, 2.0 * far_m)
        going_K2 = np.stack([readings.velocity_2, self._setpoint_2])
        bounds = self._obstacles.bounds(at_2, going_K2, others, now_s)
        self._wish_2 = wanted_2
        going = Going(velocity_2=readings.velocity_2, setpoint_2=self._setpoint_2)
        promised = self._promises.given(now_s)
        return nearest_allowed(wanted_2, bounds, rule, going=going, promised=promised)

    def _heading(self) -> int | None:
        """Where to: aside if somebody must pass, else the goal."""
        return self._goal if self._standing.aside is None else self._standing.aside

    def _way(self) -> tuple[tuple[float, float], ...]:
        """The way that others keep from it, to be spoken of."""
        goal = self._heading()
        if not self._standing.blocked or goal is None or self._ways is None:
            return ()
        cells = self._ways.path(goal)[1:]
        most = max(1, round(_WAY_M / self.rule.chart.cell_m))
        every = max(1, most // _WAY_POINTS)
        points = self.rule.chart.centres(np.array(cells[:most][every - 1 :: every], np.int64))
        return tuple((float(x), float(y)) for x, y in points)

    def _speaks(self, readings: Readings) -> bool:
        """Whether it has a word to say on this tick."""
        ticks = self._tick - self.rule.name
        if ticks % VERSION_TICKS == 0:
            return True
        gap_m = nearest_m(readings.position_2, self._neighbours.alive(readings.at_s))
        return ticks % WORD_TICKS == 0 and gap_m < NEAR_M

    def _speak(self, now_s: float, at_2: Floats, velocity_2: Floats) -> bytes:
        ticks = self._tick - self.rule.name
        flies = velocity_2, self._setpoint_2, self._wish_2
        speaker = Neighbour(
            name=self.rule.name,
            at_s=now_s,
            position_2=at_2,
            velocity_2=velocity_2,
            landed=self.phase is Phase.LANDED,
            promise=self._promises.give(now_s, at_2, flies, self._neighbours.alive(now_s)),
            rank=self._standing.rank,
            way_2=self._way(),
            boot=self.rule.boot,
        )
        return Word(
            speaker=speaker,
            mission=self.rule.mission,
            abort=self.aborted,
            changes=tuple(self._gossip.news(self._neighbours.alive(now_s), now_s)),
            versions=self.shared.versions() if ticks % VERSION_TICKS == 0 else None,
            beliefs=self.auction.beliefs(now_s) if ticks % PLAN_TICKS == 0 else None,
            estimates=self.targets.estimates() if self._tick % _TARGET_TICKS < WORD_TICKS else {},
        ).pack()
