"""Faults into a running training: what it cost, and whether the model came out the same."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sextant.errors import InputError
from sextant.fleet.fault import Fault, FaultKind
from sextant.systems.pretraining import record
from sextant.systems.pretraining.job import RECORD_FILE, Job
from sextant.systems.pretraining.launch import Patience, launch
from sextant.systems.pretraining.saved import open_saved

QUIET_S = 4.0
"""A rank that takes no step for so long counts as stopped, in a drill."""
_LOOK_S = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class Struck:
    """One fault, and when it landed in seconds since the first step; None if it never did."""

    fault: Fault
    fired_at_s: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Drilled:
    """What a drill left.

    Attributes:
        struck: the faults.
        recoveries: of every loss, as the run's record has them.
        goodput: of the run with the faults.
        goodput_without: of the same run without.
        same_weights: whether both ended with the same bits.
    """

    struck: tuple[Struck, ...]
    recoveries: tuple[dict[str, Any], ...]
    goodput: float
    goodput_without: float
    same_weights: bool


def check_faults(faults: Sequence[Fault], ranks: int) -> None:
    """Whether a training can be struck so.

    Raises:
        InputError: a fault is none that a rank can have, or names no rank.
    """
    known = [f"rank/{n}" for n in range(ranks)]
    for fault in faults:
        if fault.member not in known:
            hint = f"there are {known[0]} to {known[-1]}"
            raise InputError(f"no member {fault.member!r}", where="--fault", hint=hint)
        timed = fault.at_s is not None or fault.step is not None
        if fault.kind not in (FaultKind.KILL, FaultKind.STOP) or not timed:
            hint = "kill:rank/1@3s, stop:rank/0@step=8"
            raise InputError(f"not a fault of a rank: {fault}", where="--fault", hint=hint)


def drill(job: Job, faults: Sequence[Fault]) -> Drilled:
    """Trains twice, once with the faults, and compares.

    Raises:
        InputError: a fault names a rank that there is not.
        EngineError: the run was given up.
    """
    check_faults(faults, job.layout.ranks)
    plain = replace(job, out=job.out.with_name("undisturbed"))
    for one in (plain, job):
        one.write()
    launch(plain)
    over = threading.Event()
    struck: list[Struck] = []
    striker = threading.Thread(target=_strike, args=(job, faults, struck, over), daemon=True)
    striker.start()
    try:
        launch(job, Patience(quiet_s=QUIET_S))
    finally:
        over.set()
        striker.join()
    whole, without = (_last(one.out, "whole") for one in (job, plain))
    return Drilled(
        struck=tuple(struck),
        recoveries=tuple(whole["recoveries"]),
        goodput=float(whole["goodput"]),
        goodput_without=float(without["goodput"]),
        same_weights=_same(job.out, plain.out),
    )


def _strike(job: Job, faults: Sequence[Fault], struck: list[Struck], over: threading.Event) -> None:
    """Lets every fault land when its time or step has come; times count from the first step."""
    path, left, begun_s = job.out / RECORD_FILE, list(faults), None
    while left and not over.wait(_LOOK_S):
        taken = len(record.steps(path))
        if taken and begun_s is None:
            begun_s = time.monotonic()
        for fault in list(left):
            since_s = 0.0 if begun_s is None else time.monotonic() - begun_s
            due = begun_s is not None and fault.at_s is not None and since_s >= fault.at_s
            due = due or (fault.step is not None and taken >= fault.step)
            if due and _hit(job, fault):
                struck.append(Struck(fault=fault, fired_at_s=since_s))
                left.remove(fault)
    struck += [Struck(fault=fault, fired_at_s=None) for fault in left]


def _hit(job: Job, fault: Fault) -> bool:
    """Signals the rank; False if it does not run at this moment."""
    rank = fault.member.removeprefix("rank/")
    pid = _pid_of(job, rank)
    if pid is None:
        return False
    stopping = fault.kind is FaultKind.STOP
    os.kill(pid, signal.SIGSTOP if stopping else signal.SIGKILL)
    if stopping and fault.lasts_s is not None:
        threading.Timer(fault.lasts_s, _resume, args=(pid,)).start()
    return True


def _resume(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _pid_of(job: Job, rank: str) -> int | None:
    """The child of this process that is a rank of this job, once it takes steps."""
    if not (job.out / "alive" / f"rank-{rank}").exists():
        return None
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            for child in (task / "children").read_text().split():
                folder = Path("/proc") / child
                words = (folder / "cmdline").read_bytes()
                told = (folder / "environ").read_bytes().split(b"\0")
                if str(job.out).encode() in words and f"RANK={rank}".encode() in told:
                    return int(child)
    return None


def _last(out: Path, kind: str) -> dict[str, Any]:
    return list(record.read(out / RECORD_FILE, kind))[-1]


def _same(one: Path, two: Path) -> bool:
    import torch

    ours, theirs = (open_saved(out).model.state_dict() for out in (one, two))
    return all(torch.equal(ours[name], theirs[name]) for name in ours)
