"""A sender behind a link: what it sends leaves late, or never."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable

import numpy as np

from sextant.systems.swarm.placement.link import Dice, LinkRule

Put = Callable[[str, bytes], None]


class LateSender:
    """Holds every packet back for half of a round trip; one end of a link has one.

    Packets overtake each other where the jitter says so. A packet that takes no time leaves at
    once, on the thread of who sends it.
    """

    def __init__(self, put: Put, rule: LinkRule, seed: int) -> None:
        self._put, self._dice = put, Dice(rule, np.random.default_rng(seed))
        self._held: list[tuple[float, int, str, bytes]] = []
        self._changed = threading.Condition()
        self._closed = False
        self._sent = 0
        self.num_bytes = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def send(self, key: str, body: bytes, at_s: float) -> None:
        """Send a packet; `at_s` is the mission's time, which an outage goes by."""
        with self._changed:
            self.num_bytes += len(body)
            self._sent += 1
            lost, late_s = self._dice.is_lost(at_s), self._dice.one_way_s()
            if not lost and late_s > 0.0:
                due = (time.monotonic() + late_s, self._sent, key, body)
                heapq.heappush(self._held, due)
                self._changed.notify()
        if not lost and late_s == 0.0:
            self._put(key, body)

    def shape(self, rule: LinkRule) -> None:
        """From now on the link is another."""
        with self._changed:
            self._dice.rule = rule

    def close(self) -> None:
        """Drop what is held, and end."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(5.0)

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                left_s = self._held[0][0] - time.monotonic() if self._held else None
                if left_s is None or left_s > 0.0:
                    self._changed.wait(left_s)
                    continue
                _, _, key, body = heapq.heappop(self._held)
            self._put(key, body)
