"""Starts the ranks of a job on this computer, watches them, and starts them again if one is lost.

Nothing here needs torch. Decisions are in `decide`, which touches no process.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO

from sextant.errors import EngineError, InputError, SextantError
from sextant.systems.pretraining import checkpoint
from sextant.systems.pretraining.__main__ import LOGS
from sextant.systems.pretraining.job import JOB_FILE, RECORD_FILE, Job
from sextant.systems.pretraining.ranks import ALIVE, MEET
from sextant.systems.pretraining.record import Record

_LOOK_S = 0.05
_NAP_S = 2.0
_PR_SET_PDEATHSIG = 1


class Verdict(StrEnum):
    """What to do about the ranks."""

    GO_ON = "go on"
    DONE = "done"
    RESTART = "restart"
    GIVE_UP = "give up"


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """The bounds.

    Attributes:
        restarts: lost ranks in a row after which a job is given up; a checkpoint between forgives.
        quiet_s: without a step for this long, a rank counts as stopped.
        begin_s: the same before its first step, which loads, compiles and reads a checkpoint.
    """

    restarts: int = 3
    quiet_s: float = 60.0
    begin_s: float = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Signs:
    """What is known of the ranks at one moment.

    Attributes:
        exits: exit codes, None of who still runs.
        quiet_s: since each rank took its last step, or was started.
        stepped: whether each took a step since it was started.
        losses: in a row without a checkpoint between, this one not counted.
    """

    exits: Sequence[int | None]
    quiet_s: Sequence[float]
    stepped: Sequence[bool]
    losses: int


def decide(signs: Signs, patience: Patience) -> tuple[Verdict, int | None, str]:
    """What to do, about which rank, and why."""
    if all(code == 0 for code in signs.exits):
        return Verdict.DONE, None, ""
    for rank, code in enumerate(signs.exits):
        # What the user wrote is wrong in every attempt.
        if code == InputError.exit_code:
            return Verdict.GIVE_UP, rank, "refused its job"
    lost: tuple[int, str] | None = None
    for rank, code in enumerate(signs.exits):
        # A signal says who was hit; others fail for want of the one that was.
        if code is not None and code < 0:
            lost = (rank, f"killed by {signal.Signals(-code).name}")
            break
        if code and lost is None:
            lost = (rank, f"ended with exit code {code}")
    for rank, quiet_s in enumerate(signs.quiet_s):
        bound_s = patience.quiet_s if signs.stepped[rank] else patience.begin_s
        if lost is None and signs.exits[rank] is None and quiet_s > bound_s:
            lost = (rank, f"no step for {quiet_s:.1f} s")
    if lost is None:
        return Verdict.GO_ON, None, ""
    verdict = Verdict.GIVE_UP if signs.losses >= patience.restarts else Verdict.RESTART
    return verdict, *lost


def launch(
    job: Job, patience: Patience | None = None, tick: Callable[[], None] | None = None
) -> None:
    """Runs a job to its end on this computer, one process a rank.

    Args:
        job: what is trained; must have been written to its folder.
        patience: the bounds.
        tick: called every now and then, to show progress.

    Raises:
        InputError: the job is wrong, or another run is at work in its folder.
        EngineError: ranks were lost too often; the last reason is named.
    """
    with _alone(job.out):
        watch = _Watch(job, patience or Patience(quiet_s=max(60.0, 2.0 * job.stall_s)))
        try:
            watch.run(tick or (lambda: None))
        finally:
            watch.end()


class _Watch:
    """The ranks of one job, and what became of them."""

    def __init__(self, job: Job, patience: Patience) -> None:
        self._job, self._patience = job, patience
        self._record = Record(job.out / RECORD_FILE)
        self._ranks: list[subprocess.Popen[bytes]] = []
        self._logs: list[IO[bytes]] = []
        self._attempt = self._losses = 0
        self._begun_s = self._looked_s = self._awake_s = 0.0
        self._saved: list[str] = []

    def run(self, tick: Callable[[], None]) -> None:
        """Starts the ranks, as often as it takes.

        Raises:
            SextantError: the job cannot be run to its end.
        """
        self._start()
        while True:
            signs = self._signs()
            verdict, rank, why = decide(signs, self._patience)
            if verdict is Verdict.GO_ON:
                tick()
                time.sleep(_LOOK_S)
                continue
            if verdict is Verdict.DONE:
                tick()
                return
            assert rank is not None
            self._lose(rank, why, signs)
            if verdict is Verdict.GIVE_UP:
                raise self._error(rank, why)
            self._start()

    def end(self) -> None:
        """Ends every rank that still runs."""
        for process in self._ranks:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
        for process in self._ranks:
            process.wait()
        for log in self._logs:
            log.close()
        self._ranks, self._logs = [], []

    def _start(self) -> None:
        self._attempt += 1
        job, count = self._job, self._job.layout.ranks
        meet = job.out / f"meet-{os.getpid()}-{self._attempt}"
        for folder in (job.out / LOGS, job.out / ALIVE):
            folder.mkdir(parents=True, exist_ok=True)
        self._begun_s = time.time()
        for rank in range(count):
            (job.out / LOGS / f"rank-{rank}.error").unlink(missing_ok=True)
            (job.out / ALIVE / f"rank-{rank}").unlink(missing_ok=True)
            env = {
                **os.environ,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(count),
                "LOCAL_WORLD_SIZE": str(count),
                MEET: str(meet.resolve()),
                # Otherwise gloo looks the host's name up, which may lead to another interface.
                "GLOO_SOCKET_IFNAME": "lo" if sys.platform.startswith("linux") else "lo0",
            }
            self._logs.append((job.out / LOGS / f"rank-{rank}.log").open("ab"))
            self._ranks.append(
                subprocess.Popen(
                    [sys.executable, "-m", "sextant.systems.pretraining", str(job.out / JOB_FILE)],
                    env=env,
                    stdout=self._logs[-1],
                    stderr=self._logs[-1],
                    stdin=subprocess.DEVNULL,
                    preexec_fn=_die_with_parent,
                )
            )

    def _signs(self) -> Signs:
        beats = [self._beat_s(rank) for rank in range(len(self._ranks))]
        now_s = time.time()
        if now_s - self._looked_s > _NAP_S:
            # This process stood still itself (a sleeping laptop, a stop): so did the ranks.
            self._awake_s = now_s
        self._looked_s = now_s
        return Signs(
            exits=[process.poll() for process in self._ranks],
            quiet_s=[now_s - max(beat or self._begun_s, self._awake_s) for beat in beats],
            stepped=[beat_s is not None for beat_s in beats],
            losses=self._losses,
        )

    def _beat_s(self, rank: int) -> float | None:
        try:
            return (self._job.out / ALIVE / f"rank-{rank}").stat().st_mtime
        except FileNotFoundError:
            return None

    def _lose(self, rank: int, why: str, signs: Signs) -> None:
        """Writes down what was seen, and ends the ranks that cannot go on without the lost one."""
        saved = [path.name for path in checkpoint.found(self._job.out)[:1]]
        self._losses = 1 if saved != self._saved else self._losses + 1
        self._saved = saved
        self._record.write(
            "lost", rank=rank, why=why, since_step_s=signs.quiet_s[rank], attempt=self._attempt
        )
        self.end()

    def _error(self, rank: int, why: str) -> SextantError:
        path = self._job.out / LOGS / f"rank-{rank}.error"
        log = self._job.out / LOGS / f"rank-{rank}.log"
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return EngineError(f"rank {rank} {why}", where=str(log))
        kind = InputError if told["exit_code"] == InputError.exit_code else EngineError
        return kind(told["what"], where=told["where"] or str(log), hint=told["hint"])


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keeps a second run out of the folder."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError("another run is at work here", where=str(out)) from None
        for left in out.glob("meet-*"):
            left.unlink()
        yield


def _die_with_parent() -> None:
    """Ties a rank to this process, whatever ends it."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
