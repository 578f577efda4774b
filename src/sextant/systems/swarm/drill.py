"""Faults into a flying swarm: a drone, the launcher, the brain. Who is left finishes, or lands."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sextant.errors import EngineError, InputError
from sextant.fleet.fault import Fault, FaultKind
from sextant.systems.swarm.mission import start
from sextant.systems.swarm.mission.launch import Flight
from sextant.systems.swarm.mission.orders import LinkOrders
from sextant.systems.swarm.placement.bench import EDGE_S, Ground

LAUNCHER, BRAIN = "launcher", "brain"
_LOOK_S = 0.05
_PATIENCE_S, _LAST_S = 120.0, 20.0
_LOST_LINK_S = 3.0
"""A drill's drones land after so long without a brain."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drilled:
    """What a drill left.

    Attributes:
        landed: when each fault did, in the mission's time; one that did not is not there.
        drones: that took off.
        killed: the drones that were.
        seconds: of the mission.
        lost: how many drones the physics took down because they were silent.
        landed_drones: how many are down.
        reports: how many drones told how it went.
        collisions: of all.
        coverage: the share of what can be reached that those know to be seen who were not lost; of
            a brain that was killed, what it had told.
        detect_s: from the first drone's death until the physics had taken it down.
    """

    landed: Mapping[Fault, float]
    drones: int
    killed: tuple[int, ...]
    seconds: float
    lost: int
    landed_drones: int
    reports: int
    collisions: int
    coverage: float
    detect_s: float | None


def check_faults(faults: Sequence[Fault], drones: int) -> None:
    """Whether a flight can be struck so.

    Raises:
        InputError: a fault is none that a process of a flight can have, or names none.
    """
    known = [*(f"drone/{n}" for n in range(drones)), LAUNCHER, BRAIN]
    for fault in faults:
        if fault.member not in known:
            hint = f"there are {known[0]} to {known[drones - 1]}, launcher and brain"
            raise InputError(f"no member {fault.member!r}", where="--fault", hint=hint)
        if fault.kind is not FaultKind.KILL or fault.at_s is None:
            hint = "kill:drone/1@3s, kill:launcher@5s, kill:brain@4s"
            raise InputError(f"not a fault of a flight: {fault}", where="--fault", hint=hint)


def drill(ground: Ground, folder: Path, faults: Sequence[Fault]) -> Drilled:
    """Flies with the faults, under a launcher of its own; times are the mission's.

    A flight whose brain is struck has one elsewhere; any other decides on board.

    Raises:
        EngineError: the mission does not end.
    """
    remote = any(fault.member == BRAIN for fault in faults)
    link = LinkOrders(round_trip_s=EDGE_S) if remote else None
    flight = ground.flight(folder, link, lost_link_s=_LOST_LINK_S)
    launcher = subprocess.Popen(
        [sys.executable, "-P", "-m", start.__name__, str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    handles: dict[str, int] = {}
    try:
        assert launcher.stdout is not None
        heard, _, _ = select.select([launcher.stdout], [], [], _PATIENCE_S)
        told = launcher.stdout.readline() if heard else b""
        if not told:
            raise EngineError("the launcher failed")
        for name, pid in {**json.loads(told), LAUNCHER: launcher.pid}.items():
            with contextlib.suppress(ProcessLookupError):
                handles[name] = os.pidfd_open(pid)
        flight.listen()
        return _result(flight, *_strike(flight, faults, handles))
    finally:
        for handle in handles.values():
            _kill(handle)
            os.close(handle)
        launcher.kill()
        launcher.communicate()
        flight.close()


def _strike(
    flight: Flight, faults: Sequence[Fault], handles: dict[str, int]
) -> tuple[dict[Fault, float], float | None]:
    """Let the faults land; returns when each did, and how soon a dead drone was noticed."""
    landed: dict[Fault, float] = {}
    detect_s = None
    until_s = time.monotonic() + flight.most_s + _PATIENCE_S
    while not (flight.folder / "world.json").exists():
        if time.monotonic() > until_s:
            raise EngineError("the mission does not end")
        time.sleep(_LOOK_S)
        truth = flight.truth()
        if truth is None:
            continue
        for fault in faults:
            if fault not in landed and truth["at_s"] >= (fault.at_s or 0.0):
                if (handle := handles.get(fault.member.replace("/", "-"))) is not None:
                    _kill(handle)
                landed[fault] = truth["at_s"]
        for fault, at_s in landed.items():
            kind, _, number = fault.member.partition("/")
            if detect_s is None and kind == "drone" and not truth["flying"][int(number)]:
                detect_s = truth["at_s"] - at_s
    return landed, detect_s


def _result(flight: Flight, landed: dict[Fault, float], detect_s: float | None) -> Drilled:
    killed = sorted(int(f.member.partition("/")[2]) for f in landed if f.member.startswith("drone"))
    rest = [flight.folder / f"drone-{n}.json" for n in range(flight.drones) if n not in killed]
    until_s = time.monotonic() + _LAST_S
    while not all(path.exists() for path in rest) and time.monotonic() < until_s:
        time.sleep(_LOOK_S)
    figures = flight.figures()
    return Drilled(
        landed=landed,
        drones=flight.drones,
        killed=tuple(killed),
        seconds=figures["seconds"],
        lost=figures["lost_drones"],
        landed_drones=figures["landed"],
        reports=len(flight.reports),
        collisions=figures["collisions"],
        coverage=figures["coverage"],
        detect_s=detect_s,
    )


def _kill(handle: int) -> None:
    # By handle: the number of a process that has ended may be another's by now.
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(handle, signal.SIGKILL)
