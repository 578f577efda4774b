"""What a drone says of the shared map: what those who listen lack of it."""

from __future__ import annotations

from collections.abc import Mapping

from sextant.systems.swarm.agreement.neighbours import Neighbour
from sextant.systems.swarm.agreement.shared_map import Change, SharedMap

_CHANGES_A_WORD = 256
_TURN = 4


class Gossip:
    """Who knows how much of the map by its own word, and what is to be said next.

    A word is heard by all, so it tells what the slowest of them lacks: of one's own layer, and of
    the layers of those who are gone. Who takes in nothing of a layer for a while, though there is
    more of it, may be deaf, and nobody waits for it. One word in so many is for one of these alone,
    whosever layer it lacks: who hears again, or hears only some, comes by everything that way.
    """

    def __init__(self, name: int, shared: SharedMap, patience_s: float) -> None:
        self._name, self._shared, self._patience_s = name, shared, patience_s
        self._told: dict[int, Mapping[int, int]] = {}
        self._lacking: dict[tuple[int, int], tuple[int, float]] = {}
        self._turn = 0

    def hear(self, name: int, versions: Mapping[int, int]) -> None:
        """A drone says up to where it knows each layer."""
        self._told[name] = versions

    def news(self, alive: list[Neighbour], now_s: float) -> list[Change]:
        """What to tell those who fly."""
        shared, names = self._shared, {other.name for other in alive}
        self._told = {name: v for name, v in self._told.items() if name in names}
        if not self._told:
            return []
        known = shared.versions()
        left = self._left_behind(known, now_s)
        self._turn += bool(left)
        if left and self._turn % _TURN == 0:
            name, source = left[self._turn // _TURN % len(left)]
            lacking = {**known, source: self._told[name].get(source, 0)}
            return shared.news_for(lacking, _CHANGES_A_WORD)
        spoken_for = {other.source for other in alive}
        # The first of those who hear hands on what the gone have left.
        first = all(self._name < name or (name, shared.own) in left for name in names)
        lacking = dict(known)
        for source in known:
            if source == shared.own or (first and source not in spoken_for):
                told = (
                    versions.get(source, 0)
                    for name, versions in self._told.items()
                    if (name, source) not in left
                )
                lacking[source] = min(told, default=known[source])
        return shared.news_for(lacking, _CHANGES_A_WORD)

    def _left_behind(self, known: Mapping[int, int], now_s: float) -> list[tuple[int, int]]:
        """Drones, and the layers of which they have taken in nothing for a while."""
        lacking, left = dict[tuple[int, int], tuple[int, float]](), []
        for name, versions in sorted(self._told.items()):
            for source, upto in known.items():
                has = versions.get(source, 0)
                if has >= upto:
                    continue
                pair = (name, source)
                before = self._lacking.get(pair)
                if before is None or has != before[0]:
                    before = (has, now_s)
                lacking[pair] = before
                if now_s - before[1] > self._patience_s:
                    left.append(pair)
        self._lacking = lacking
        return left
