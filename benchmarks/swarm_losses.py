"""Half of twelve drones killed one at a time, and a network cut in two for twenty seconds."""

from __future__ import annotations

import numpy as np

from benchmarks.bench import Figure, needs
from sextant.systems.swarm.mission.stepped import Mission, MissionRule
from sextant.systems.swarm.world.maps import read_map
from sextant.systems.swarm.world.world import WorldRule

_MAPS = ("random-32-32-10", "random-32-32-20", "room-32-32-8")
_SEEDS, _DRONES, _LOSS, _MOST_S = 2, 12, 0.2, 240.0
_KILL_FROM_S, _KILL_UNTIL_S = 4.0, 30.0
_CUT_S, _JOIN_S, _EQUAL_S = 8.0, 28.0, 5.0


def mission(name: str, seed: int) -> Mission:
    """One, about to begin."""
    grid = read_map(needs("maps") / "movingai" / f"{name}.map", cell_m=1.0)
    rule = MissionRule(
        drones=_DRONES, loss_probability=_LOSS, most_s=_MOST_S, world=WorldRule(seed=seed)
    )
    return Mission(grid, rule)


def killed(name: str, seed: int) -> Mission:
    """Fly while half of the drones fail at random times, until the others have come home."""
    flight, chance = mission(name, seed), np.random.default_rng((seed, 11))
    victims = chance.permutation(_DRONES)[: _DRONES // 2].tolist()
    times_s = sorted(chance.uniform(_KILL_FROM_S, _KILL_UNTIL_S, len(victims)).tolist())
    while flight.flying() and flight.world.now_s < _MOST_S:
        flight.tick()
        while times_s and flight.world.now_s >= times_s[0]:
            times_s.pop(0)
            flight.kill(victims.pop())
    return flight


def cut(name: str, seed: int) -> tuple[Mission, float | None]:
    """Fly with a network cut in two for a while; when, after it was joined, did every drone know
    what any had known by then? None if it never did.
    """
    flight = mission(name, seed)
    known: dict[int, int] = {}
    equal_s = None

    def connected(one: int, other: int) -> bool:
        apart = _CUT_S <= flight.world.now_s < _JOIN_S
        return not apart or one % 2 == other % 2

    while flight.flying() and flight.world.now_s < _MOST_S:
        flight.tick(connected)
        if not known and flight.world.now_s >= _JOIN_S:
            for pilot in flight.pilots:
                for source, upto in pilot.shared.versions().items():
                    known[source] = max(known.get(source, 0), upto)
        if known and equal_s is None and _know(flight, known):
            equal_s = flight.world.now_s - _JOIN_S
        if equal_s is not None and flight.coverage() >= 0.95:
            break
    return flight, equal_s


def _know(flight: Mission, known: dict[int, int]) -> bool:
    """Whether everybody in the air has taken in all that."""
    told = [flight.pilots[drone].shared.versions() for drone in flight.flying()]
    return all(own.get(source, 0) >= upto for own in told for source, upto in known.items())


def run() -> list[Figure]:
    """The figures."""
    cases = [(name, seed) for name in _MAPS for seed in range(_SEEDS)]
    halves = [killed(name, seed) for name, seed in cases]
    cuts = [cut(name, seed) for name, seed in cases]
    seen = min(flight.coverage() for flight in halves)
    home = sum(not flight.flying() for flight in halves)
    slowest_s = max(np.inf if equal_s is None else equal_s for _, equal_s in cuts)
    touches = [len(f.world.collisions) for f in (*halves, *(f for f, _ in cuts))]
    return [
        Figure(
            name=f"least that the living know in {len(halves)} missions, half of the drones killed",
            measured=seen,
            unit="",
            bar="0.95",
            held=seen >= 0.95,
            beside={"latest s": max(flight.world.now_s for flight in halves)},
        ),
        Figure(
            name=f"of these in which all that were left came home within {_MOST_S:.0f} s",
            measured=home,
            unit="",
            bar=f"{len(halves)}",
            held=home == len(halves),
        ),
        Figure(
            name=f"until maps are equal after a cut of {_JOIN_S - _CUT_S:.0f} s, slowest",
            measured=slowest_s,
            unit="s",
            bar=f"{_EQUAL_S:.0f} s",
            held=slowest_s <= _EQUAL_S,
        ),
        Figure(
            name="least seen, network cut in two",
            measured=min(flight.coverage() for flight, _ in cuts),
            unit="",
            bar="0.95",
            held=min(flight.coverage() for flight, _ in cuts) >= 0.95,
        ),
        Figure(name="touches", measured=sum(touches), unit="", bar="0", held=not sum(touches)),
    ]
