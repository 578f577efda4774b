"""The physics as a process of its own: it tells each drone its own readings, and nothing else."""

from __future__ import annotations

import gc
import time
from contextlib import suppress
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from sextant.errors import EngineError
from sextant.fleet import wire
from sextant.systems.swarm.mission.orders import WorldOrders, publish
from sextant.systems.swarm.mission.wire import Keys, pack, pack_readings, unpack
from sextant.systems.swarm.world.maps import read_map
from sextant.systems.swarm.world.world import World, WorldRule

SUB_TICKS = 5
"""Parts of a period. A drone senses once a period, but computers of their own keep no common time:
every fifth drone senses in another part."""
_FRAME_TICKS = 4
_READY_S = 60.0
_STALE_PERIODS = 2.5
_DEAD_S, _DEAD_PERIODS = 1.5, 4.0
_FIRST_S = 3.5
"""Who has given no setpoint by then counts as one whose last was from readings of that time."""
_MOST_TOLD = 4096
"""Orders of drones may wait; they are taken in many times a period."""


class Autopilots:
    """What each drone was told to do last; who hears nothing new for 2.5 periods stops."""

    def __init__(self, session: Any, keys: Keys, count: int) -> None:
        self._count = count
        self._told = session.declare_subscriber(keys.act(), wire.newest(_MOST_TOLD))
        self._hellos = session.declare_subscriber(keys.hello, wire.newest(_MOST_TOLD))
        self._orders: dict[int, tuple[float, tuple[float, float]]] = {}
        self._landing: set[int] = set()
        self._ready: set[int] = set()

    def ready(self) -> int:
        """How many drones are there."""
        while (sample := self._hellos.try_recv()) is not None:
            with suppress(TypeError, ValueError, IndexError, KeyError):
                drone = unpack(sample.payload.to_bytes())[0]
                if drone in range(self._count):
                    self._ready.add(int(drone))
        return len(self._ready)

    def hear(self) -> None:
        """Take in the setpoints, and orders to land, that have come since the last time."""
        while (sample := self._told.try_recv()) is not None:
            try:
                drone = int(str(sample.key_expr).rsplit("/", 1)[1])
                made_from_s, (u, v), lands = unpack(sample.payload.to_bytes())
                if drone not in self._ready or not all(map(isfinite, (made_from_s, u, v))):
                    continue
            except (TypeError, ValueError):
                continue
            if lands:
                self._landing.add(drone)
            self._orders[drone] = (made_from_s, (u, v))

    def setpoints(self, count: int, now_s: float, stale_s: float) -> np.ndarray:
        """What each flies by now."""
        setpoints_N2 = np.zeros((count, 2))
        for drone, (made_from_s, setpoint) in self._orders.items():
            if now_s - made_from_s <= stale_s:
                setpoints_N2[drone] = setpoint
        return setpoints_N2

    def landing(self) -> set[int]:
        """Those that were told to land."""
        return set(self._landing)

    def silent(self, since_s: float) -> set[int]:
        """Those whose last setpoint is from readings of before a time of the world, or that never
        gave one; a machine that stands still for a while loses nobody.
        """
        last_s = {drone: made_from_s for drone, (made_from_s, _) in self._orders.items()}
        return {drone for drone in self._ready if last_s.get(drone, _FIRST_S) < since_s}


def run_world(orders: WorldOrders) -> None:
    """Let time pass at its own rate until all have landed, or the time is up.

    Raises:
        EngineError: not all drones came.
    """
    starts_N2, targets_T2 = np.array(orders.starts_m), np.array(orders.targets_m).reshape(-1, 2)
    grid = read_map(Path(orders.map), cell_m=orders.cell_m)
    world = World(grid, WorldRule(seed=orders.seed), starts_N2, targets_T2)
    for drone, share in orders.charge.items():
        world.bodies.battery_N[drone] = share
    # What the first rays would wait for, and all drones with them.
    _ = world.layer.framed_clearance
    session = wire.peer(orders.listen, [])
    try:
        pilots = Autopilots(session, Keys(orders.mission), len(starts_N2))
        _await(pilots, len(starts_N2))
        begun_cpu_s = time.process_time()
        lost = _run(world, pilots, orders, session)
        cpu_s = time.process_time() - begun_cpu_s
        publish(Path(orders.result), _result(world, lost, cpu_s))
    finally:
        session.close()


def _await(pilots: Autopilots, count: int) -> None:
    until_s = time.monotonic() + _READY_S
    while pilots.ready() < count:
        if time.monotonic() > until_s:
            raise EngineError(f"{count - pilots.ready()} of {count} drones did not come")
        time.sleep(0.02)


def _run(world: World, pilots: Autopilots, orders: WorldOrders, session: Any) -> set[int]:
    """The loop; returns the drones that were lost."""
    gc.collect()
    gc.freeze()
    keys, lost, period_s = Keys(orders.mission), set[int](), orders.period_s
    count = len(orders.starts_m)
    tick, next_s = 0, time.monotonic()
    while world.now_s < orders.most_s and world.flying_N.any():
        up = np.flatnonzero(world.flying_N).tolist()
        if tick % _FRAME_TICKS == 0:
            session.put(keys.truth, pack(_truth(world, lost)))
        for part in range(SUB_TICKS):
            drones = [drone for drone in up if drone % SUB_TICKS == part]
            _tell(world, drones, (tick + part) % _FRAME_TICKS == 0, session, keys)
            next_s += period_s / SUB_TICKS
            time.sleep(max(0.0, next_s - time.monotonic()))
            pilots.hear()
            stale_s = _STALE_PERIODS * period_s
            world.step(pilots.setpoints(count, world.now_s, stale_s), period_s / SUB_TICKS)
        # Who cannot keep up does not race to catch up: time passes more slowly.
        next_s = max(next_s, time.monotonic() - period_s)
        for drone in pilots.landing():
            world.land(drone)
        dead_s = max(_DEAD_S, _DEAD_PERIODS * period_s)
        for drone in pilots.silent(world.now_s - dead_s) - pilots.landing() - lost:
            lost.add(drone)
            world.land(drone)
        tick += 1
    # Whoever looks on is told how it ended, too.
    session.put(keys.truth, pack(_truth(world, lost)))
    return lost


def _tell(world: World, drones: list[int], frame: bool, session: Any, keys: Keys) -> None:
    """Tell some drones what each senses now."""
    if drones:
        made_at_s = time.time()
        for drone, readings in zip(drones, world.sense(drones, frame=frame), strict=True):
            session.put(keys.sense(drone), pack_readings(readings, made_at_s))


def _truth(world: World, lost: set[int]) -> dict[str, Any]:
    """For whoever keeps the score; no drone hears it."""
    return {
        "at_s": world.now_s,
        "positions": np.round(world.bodies.positions_N2, 3).tolist(),
        "flying": world.flying_N.tolist(),
        "lost": sorted(lost),
        "collisions": len(world.collisions),
    }


def _result(world: World, lost: set[int], cpu_s: float) -> dict[str, Any]:
    gap_m = world.least_gap_m
    return {
        "seconds": world.now_s,
        "collisions": [[c.at_s, c.drone, c.other] for c in world.collisions],
        "min_separation_m": gap_m if np.isfinite(gap_m) else None,
        "lost": sorted(lost),
        "landed": int((~world.flying_N).sum()),
        "cpu_s": cpu_s,
    }
