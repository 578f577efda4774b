"""Who does what: the consensus-based bundle algorithm. Nobody runs it for the others.

Each drone keeps, of every task, who it believes is the highest bidder and with which bid, and of
every other drone how recent the news is that its belief stands on. It builds a bundle of tasks that
it wins by its own score, and mends its beliefs by what its neighbours believe. Bids fall with the
length of the bundle, so all come to the same assignment, whatever is lost on the way.
Source: Choi, Brunet and How 2009, Consensus-based decentralized auctions, IEEE T-RO 25(4), table 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

_EPSILON = 1e-9
MOST_TASKS = 3
"""That a drone holds at once."""


class Claim(NamedTuple):
    """Who is believed to win a task, and with which bid; nobody with 0.

    A tuple, because a swarm makes and compares hundreds a tick.
    """

    winner: int | None = None
    bid: float = 0.0


NOBODY = Claim()


@dataclass(frozen=True, kw_only=True, slots=True)
class Beliefs:
    """What a drone tells: its claims by task, and how recent its news of each drone is."""

    sender: int
    at_s: float
    claims: Mapping[int, Claim]
    heard_s: Mapping[int, float]

    def until(self, latest_s: float) -> Beliefs:
        """The same without news of a later time: some clock that it passes on is wrong."""
        if max(self.heard_s.values(), default=latest_s) <= latest_s:
            return self
        known = {drone: at_s for drone, at_s in self.heard_s.items() if at_s <= latest_s}
        return replace(self, heard_s=known)


Score = Callable[[Sequence[int], int], float]
"""`score(path, task)`: what adding the task after the path is worth; at least 0."""


class Auction:
    """One drone's part in the auction.

    Attributes:
        bundle: the tasks that it wins, in the order in which it will do them.
        work_s: when somebody said last that it has a task.
    """

    def __init__(self, own: int, *, most_tasks: int = MOST_TASKS) -> None:
        self.own = own
        self.bundle: list[int] = []
        self.work_s = -math.inf
        self._most = most_tasks
        self._claims: dict[int, Claim] = {}
        self._heard_s: dict[int, float] = {}

    def claim(self, task: int) -> Claim:
        """Who is believed to win a task."""
        return self._claims.get(task, NOBODY)

    def beliefs(self, now_s: float) -> Beliefs:
        """What to tell the others."""
        heard = {**self._heard_s, self.own: now_s}
        return Beliefs(sender=self.own, at_s=now_s, claims=dict(self._claims), heard_s=heard)

    def forget(self, gone: set[int]) -> None:
        """Put up again what drones that are gone had won."""
        for task, claim in self._claims.items():
            if claim.winner in gone:
                self._claims[task] = NOBODY

    def keep(self, open_tasks: set[int]) -> None:
        """Drop tasks that are done."""
        self._claims = {t: c for t, c in self._claims.items() if t in open_tasks}
        self.bundle = [task for task in self.bundle if task in open_tasks]

    def give_up(self) -> None:
        """Put up again all that it has won: it will see to none of it."""
        for task in self.bundle:
            self._claims[task] = NOBODY
        self.bundle = []

    def build(self, open_tasks: Sequence[int], score: Score, *, bidders: int = 1) -> None:
        """Add tasks to the bundle while there is one whose score beats all known bids.

        It holds no more than its share among so many bidders, and puts up again what is over.
        """
        most = min(self._most, max(1, len(open_tasks) // bidders))
        for task in self.bundle[most:]:
            self._claims[task] = NOBODY
        del self.bundle[most:]
        while len(self.bundle) < most:
            bids = {
                # A bid never exceeds those before it in the bundle, or beliefs might circle.
                task: min(score(self.bundle, task), self._last_bid())
                for task in open_tasks
                if task not in self.bundle
            }
            winning = [task for task, bid in bids.items() if self._beats(task, bid)]
            if not winning:
                return
            best = max(winning, key=lambda task: (bids[task], -task))
            self._claims[best] = Claim(self.own, bids[best])
            self.bundle.append(best)

    def rebid(self, score: Score) -> None:
        """Bid anew on the own bundle: the drone has moved since it bid last."""
        path: list[int] = []
        for task in self.bundle:
            before = self._claims[path[-1]].bid if path else float("inf")
            self._claims[task] = Claim(self.own, min(score(path, task), before))
            path.append(task)

    def hear(self, beliefs: Beliefs, open_tasks: set[int]) -> None:
        """Mend one's beliefs by a neighbour's; old news changes nothing."""
        if beliefs.sender == self.own:
            return
        if beliefs.at_s <= self._heard_s.get(beliefs.sender, -1.0):
            return
        told, known, heard_s = beliefs.claims, self._claims, self._heard_s
        if beliefs.sender in {claim.winner for claim in told.values()}:
            self.work_s = max(self.work_s, beliefs.at_s)
        # What both believe already stays; once they agree that is all.
        if told != known:
            for task in open_tasks:
                if told.get(task, NOBODY) != known.get(task, NOBODY):
                    known[task] = self._settled(task, beliefs)
        for drone, at_s in beliefs.heard_s.items():
            if at_s > heard_s.get(drone, -1.0) and drone != self.own:
                heard_s[drone] = at_s
        self._release()

    def _settled(self, task: int, theirs: Beliefs) -> Claim:
        """Table 1 of the source: i is this drone, k the sender, m and n others."""
        mine, said, sender = self.claim(task), theirs.claims.get(task, NOBODY), theirs.sender
        if said.winner == sender:
            if mine.winner == self.own:
                return said if _higher(said, mine) else mine
            if mine.winner in (None, sender):
                return said
            return said if self._newer(theirs, mine.winner) or _higher(said, mine) else mine
        if said.winner == self.own:
            if mine.winner == sender or (
                mine.winner not in (None, self.own) and self._newer(theirs, mine.winner)
            ):
                return NOBODY
            return mine
        if said.winner is None:
            gone = mine.winner == sender or (
                mine.winner not in (None, self.own) and self._newer(theirs, mine.winner)
            )
            return said if gone else mine
        return self._settled_third(mine, said, theirs)

    def _settled_third(self, mine: Claim, said: Claim, theirs: Beliefs) -> Claim:
        """The sender believes that a third drone m wins."""
        newer_m = self._newer(theirs, said.winner)
        if mine.winner == self.own:
            return said if newer_m and _higher(said, mine) else mine
        if mine.winner == theirs.sender:
            return said if newer_m else NOBODY
        if mine.winner is None or mine.winner == said.winner:
            return said if newer_m else mine
        newer_n = self._newer(theirs, mine.winner)
        if newer_m and (newer_n or _higher(said, mine)):
            return said
        if newer_n and not newer_m:
            return NOBODY
        return mine

    def _release(self) -> None:
        """Who is outbid on a task gives up it and all after it, whose bids stood on it."""
        for place, task in enumerate(self.bundle):
            if self.claim(task).winner != self.own:
                for later in self.bundle[place + 1 :]:
                    if self.claim(later).winner == self.own:
                        self._claims[later] = NOBODY
                del self.bundle[place:]
                return

    def _newer(self, theirs: Beliefs, drone: int | None) -> bool:
        if drone is None:
            return False
        return theirs.heard_s.get(drone, -1.0) > self._heard_s.get(drone, -1.0)

    def _beats(self, task: int, bid: float) -> bool:
        return bid > _EPSILON and _higher(Claim(self.own, bid), self.claim(task))

    def _last_bid(self) -> float:
        return self._claims[self.bundle[-1]].bid if self.bundle else float("inf")


def _higher(one: Claim, other: Claim) -> bool:
    """Whether a claim beats another; equal bids go to the lower number."""
    if one.winner is None:
        return False
    if other.winner is None or one.bid > other.bid + _EPSILON:
        return True
    return abs(one.bid - other.bid) <= _EPSILON and one.winner < other.winner
