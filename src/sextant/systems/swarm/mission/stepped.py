"""A mission in one process and in lock step: deterministic under a seed, as fast as it goes.

The drones share nothing here either: what one says reaches another as bytes, or is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from sextant.errors import InputError
from sextant.systems.swarm.drone.chart import Chart
from sextant.systems.swarm.drone.pilot import Phase, Pilot, PilotRule
from sextant.systems.swarm.drone.safety import SafetyRule
from sextant.systems.swarm.world.grid import Floats, Grid, Layer
from sextant.systems.swarm.world.world import Collision, World, WorldRule

_FRAME_TICKS = 4
_LEAST_CELL_M = 0.25


@dataclass(frozen=True, kw_only=True, slots=True)
class MissionRule:
    """A mission to fly.

    Attributes:
        drones: how many.
        num_targets: lie hidden on the ground.
        loss_probability: a word is lost on its way to one hearer.
        most_s: the mission is ended after so long.
    """

    drones: int = 4
    num_targets: int = 6
    loss_probability: float = 0.0
    most_s: float = 600.0
    period_s: float = 0.05
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
        curve: (time, coverage), a point a second.
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
    curve: tuple[tuple[float, float], ...]


def chart_of(grid: Grid) -> Chart:
    """The chart of a map: its own cells, or a few of them together where they are fine."""
    times = max(1, round(_LEAST_CELL_M / grid.cell_m))
    rows, columns = grid.heights_RC.shape
    return Chart(
        rows=-(-rows // times),
        columns=-(-columns // times),
        cell_m=times * grid.cell_m,
        origin_m=grid.origin_m,
    )


def reachable(layer: Layer, chart: Chart, starts_N2: Floats, clearance_m: float) -> np.ndarray:
    """The cells of a chart that a drone can fly to from some start [C]."""
    from scipy import ndimage

    centres = chart.centres(np.arange(chart.num_cells))
    free = np.array([layer.distance(point, clearance_m) > clearance_m for point in centres])
    labels, _ = ndimage.label(free.reshape(chart.rows, chart.columns))
    from_starts = labels.ravel()[chart.cells(starts_N2)]
    return np.asarray(np.isin(labels.ravel(), from_starts[from_starts > 0]))


def starts_on(layer: Layer, chart: Chart, count: int, rule: SafetyRule, seed: int) -> Floats:
    """Places to start from, near one another, in the largest free region.

    Raises:
        InputError: there are fewer places than drones.
    """
    from scipy import ndimage

    apart_m = 2 * (rule.radius_m + rule.margin_m) + 0.3
    centres = chart.centres(np.arange(chart.num_cells))
    near_m = rule.radius_m + rule.margin_m + 0.1
    free = np.array([layer.distance(point, near_m) > near_m for point in centres])
    labels, num = ndimage.label(free.reshape(chart.rows, chart.columns))
    if not num:
        raise InputError("no place on the map is wide enough for a drone", where="--map")
    sizes = np.bincount(labels.ravel())[1:]
    places = centres[labels.ravel() == 1 + int(sizes.argmax())]
    first = places[np.random.default_rng((seed, 9)).integers(len(places))]
    chosen: list[Floats] = []
    for place in places[np.argsort(np.hypot(*(places - first).T), kind="stable")]:
        if all(np.hypot(*(place - other)) > apart_m for other in chosen):
            chosen.append(place)
            if len(chosen) == count:
                return np.array(chosen)
    what = f"{count} drones, and places for {len(chosen)}"
    raise InputError(what, where="--drones", hint="fewer drones, or a larger map")


class Mission:
    """A mission in lock step."""

    def __init__(self, grid: Grid, rule: MissionRule, starts_N2: Floats | None = None) -> None:
        """Place drones and targets.

        Raises:
            InputError: a start is inside a wall, or there are more drones than places.
        """
        self.rule = rule
        safety = SafetyRule(radius_m=rule.world.radius_m, speed_m_s=rule.world.body.speed_m_s)
        layer, self.chart = grid.layer(rule.world.altitude_m), chart_of(grid)
        seed = rule.world.seed
        if starts_N2 is None:
            starts_N2 = starts_on(layer, self.chart, rule.drones, safety, seed)
        clearance_m = safety.radius_m + safety.margin_m
        self.reachable_C = reachable(layer, self.chart, starts_N2, clearance_m)
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
                )
            )
            for name, home_2 in enumerate(starts_N2)
        ]
        self.alive = [True] * len(self.pilots)
        self.words_bytes = 0
        self._mail: list[list[bytes]] = [[] for _ in self.pilots]
        self._link = np.random.default_rng((seed, 7))
        self._seen_C = np.zeros(self.chart.num_cells, np.bool_)
        self._ticks = 0

    def fly(self, each_second: Callable[[Mission], None] = lambda _mission: None) -> Flown:
        """Fly until all have landed, or the time is up."""
        curve = [(0.0, 0.0)]
        per_second = round(1.0 / self.rule.period_s)
        while self.world.now_s < self.rule.most_s and self.flying():
            self.tick()
            if self._ticks % per_second == 0:
                curve.append((self.world.now_s, self.coverage()))
                each_second(self)
        return self._flown(curve)

    def flying(self) -> list[int]:
        """The drones in the air that are alive."""
        return [i for i, up in enumerate(self.world.flying_N) if up and self.alive[i]]

    def kill(self, drone: int) -> None:
        """A drone fails: it comes down and says nothing more."""
        self.alive[drone] = False
        self.world.land(drone)

    def coverage(self) -> float:
        """The share of the reachable cells that some drone's camera has seen."""
        for pilot in self.pilots:
            self._seen_C |= pilot.shared.seen_C
        return float((self._seen_C & self.reachable_C).sum() / max(1, self.reachable_C.sum()))

    def tick(self, connected: Callable[[int, int], bool] = lambda _one, _other: True) -> None:
        """One control period for all; `connected` says who hears whom."""
        present = [i for i, alive in enumerate(self.alive) if alive]
        setpoints_N2 = np.zeros((len(self.pilots), 2))
        words: dict[int, bytes] = {}
        seen = self.world.sense(present, frame=self._ticks % _FRAME_TICKS == 0)
        for drone, readings in zip(present, seen, strict=True):
            mail, self._mail[drone] = self._mail[drone], []
            act = self.pilots[drone].tick(readings, mail)
            setpoints_N2[drone] = act.setpoint_2
            if act.word is not None:
                words[drone] = act.word
            if act.phase is Phase.LANDED:
                self.world.land(drone)
        self._deliver(words, present, connected)
        self.world.step(setpoints_N2, self.rule.period_s)
        self._ticks += 1

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
            curve=tuple(curve),
        )

    def _confirmed(self, drone: int) -> list[Floats]:
        return self.pilots[drone].targets.confirmed() if self.alive[drone] else []
