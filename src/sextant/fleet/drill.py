"""Faults put into a gang while a load runs, and what the record says of each.

A fault counts only if it landed: it was seen to do what it should to a process that was in the
phase aimed at, and, where that phase is serving, that was answering requests at that time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Self

from sextant.fleet.answers import Gather
from sextant.fleet.fault import Fault
from sextant.fleet.gang import Gang
from sextant.fleet.roster import Change
from sextant.fleet.shot import Shot, Track

_POLL_S = 0.02


class Drill:
    """Fires faults at a gang for as long as its block runs; the load runs in the block.

    ::

        with Drill(gang, [Fault.parse("kill:shard/3@2s")]) as drill:
            ...  # ask the gang; call drill.step(n) if a fault waits for a step
            drill.settle(ask_once, timeout_s=10.0)
        assert drill.held, drill.shots

    Raises:
        InputError: a fault names somebody who is not in the gang.
    """

    def __init__(self, gang: Gang, faults: Iterable[Fault]) -> None:
        self._gang = gang
        self._tracks = [_track(gang, fault) for fault in faults]
        self._lock = threading.Lock()
        self._step = -1
        self._served: dict[str, tuple[float, float]] = {}
        self._begun_s = 0.0
        self._over = False
        self._news = threading.Condition(self._lock)
        self._thread = threading.Thread(target=self._fire_all, name="drill", daemon=True)

    def __enter__(self) -> Self:
        self._begun_s = time.monotonic()
        self._undo = (
            self._gang.on_change(self._see_change),
            self._gang.on_gather(self._see_gather),
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._news:
            self._over = True
            self._news.notify_all()
        self._thread.join(timeout=10.0)
        for undo in self._undo:
            undo()

    def step(self, number: int) -> None:
        """Says that the load has come to a step."""
        with self._news:
            self._step = number
            self._news.notify_all()

    def settle(self, load: Callable[[], object], timeout_s: float) -> bool:
        """Keeps the load on until the drill is settled, no longer than that; says whether it is."""
        until_s = time.monotonic() + timeout_s
        while not self.settled() and time.monotonic() < until_s:
            load()
        return self.settled()

    def settled(self) -> bool:
        """Whether every fault has fired, and each that landed was followed by a full answer."""
        with self._lock:
            return all(track.settled for track in self._tracks)

    @property
    def shots(self) -> tuple[Shot, ...]:
        """What is known of each fault so far, in the order in which they were given."""
        with self._lock:
            return tuple(track.shot(self._begun_s) for track in self._tracks)

    @property
    def held(self) -> bool:
        """Whether every fault landed and the gang came back from each."""
        return all(shot.recovered for shot in self.shots)

    def _fire_all(self) -> None:
        waiting = list(self._tracks)
        while waiting:
            for track in [track for track in waiting if self._due(track.fault)]:
                waiting.remove(track)
                self._fire(track)
            with self._news:
                if self._over:
                    return
                self._news.wait(_POLL_S)

    def _due(self, fault: Fault) -> bool:
        if fault.at_s is not None:
            return time.monotonic() - self._begun_s >= fault.at_s
        if fault.step is not None:
            return self._step >= fault.step
        states = self._gang.states()
        return all(states[name].value == fault.phase for name in self._gang.aims(fault.member))

    def _fire(self, track: Track) -> None:
        with self._lock:
            served = [self._served.get(name, (self._begun_s, 0.0)) for name in track.aims]
            served_s, usual_s = min(at_s for at_s, _ in served), max(took for _, took in served)
            # Before it is sent: it may be noticed before we are told that it landed.
            track.fire(time.monotonic(), idle_s=time.monotonic() - served_s, usual_s=usual_s)
        landing = self._gang.inject(track.fault)
        with self._lock:
            track.land(landing, time.monotonic())

    def _see_change(self, change: Change) -> None:
        with self._lock:
            for track in self._tracks:
                track.see_change(change)

    def _see_gather(self, begun_s: float, gather: Gather) -> None:
        now_s = time.monotonic()
        with self._lock:
            for track in self._tracks:
                track.see_gather(begun_s, now_s, gather)
            for name, answer in gather.answers.items():
                self._served[answer.replica or name] = (now_s, answer.handle_s)


def _track(gang: Gang, fault: Fault) -> Track:
    aims = gang.aims(fault.member)
    member = next(name for name, replicas in gang.replicas.items() if aims[0] in replicas)
    return Track(fault, member, aims, spared=len(aims) < len(gang.replicas[member]))
