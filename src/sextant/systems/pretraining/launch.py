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
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO

from sextant.errors import EngineError, InputError, SextantError
from sextant.systems.pretraining import checkpoint
from sextant.systems.pretraining.__main__ import LOGS
from sextant.systems.pretraining.elastic import Elastic, Places
from sextant.systems.pretraining.job import ATTEMPT_FILE, RECORD_FILE, Job
from sextant.systems.pretraining.pace import read_pace, slowest
from sextant.systems.pretraining.ranks import ALIVE, DONE, FLAWED, MEET, PARTED, YIELD_FILE, YIELDED
from sextant.systems.pretraining.record import Record, read
from sextant.systems.pretraining.recovery import goodput, recoveries

_LOOK_S = 0.05
_NAP_S = 2.0
_PARTED_S = 5.0
"""Once a rank ended for want of another, for how long the others may take to end as well."""
_PR_SET_PDEATHSIG = 1


class Verdict(StrEnum):
    """What to do about the ranks."""

    GO_ON = "go on"
    DONE = "done"
    RESTART = "restart"
    RESIZE = "resize"
    GIVE_UP = "give up"


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """The bounds.

    Attributes:
        restarts: lost ranks in a row after which a job is given up; a checkpoint between forgives.
        quiet_s: without a step for this long, a rank counts as stopped.
        begin_s: the same before its first step, which loads, compiles and reads a checkpoint,
            and after its last.
        slow: a rank that takes so many times as long as the others counts as slow.
    """

    restarts: int = 3
    quiet_s: float = 60.0
    begin_s: float = 600.0
    slow: float = 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Signs:
    """What is known of the ranks at one moment.

    Attributes:
        exits: exit codes, None of who still runs.
        quiet_s: since each rank took its last step, or was started.
        stepped: whether each took a step since it was started, and has not taken its last.
        losses: in a row without a checkpoint between, this one not counted.
        parted_s: since the first of them ended for want of another.
    """

    exits: Sequence[int | None]
    quiet_s: Sequence[float]
    stepped: Sequence[bool]
    losses: int
    parted_s: float = 0.0


def decide(signs: Signs, patience: Patience) -> tuple[Verdict, int | None, str]:
    """What to do, about which rank, and why."""
    if all(code == 0 for code in signs.exits):
        return Verdict.DONE, None, ""
    if all(code in (0, YIELDED) for code in signs.exits):
        return Verdict.RESIZE, None, ""
    for rank, code in enumerate(signs.exits):
        # What the user wrote is wrong in every attempt.
        if code == InputError.exit_code:
            return Verdict.GIVE_UP, rank, "refused its job"
    lost = _lost(signs, patience)
    if lost is None:
        return Verdict.GO_ON, None, ""
    verdict = Verdict.GIVE_UP if signs.losses >= patience.restarts else Verdict.RESTART
    return verdict, *lost


def _lost(signs: Signs, patience: Patience) -> tuple[int, str] | None:
    """The rank that is to blame, and why: others fail, or wait, for want of that one."""
    for rank, code in enumerate(signs.exits):
        if code is not None and code < 0:
            return rank, f"killed by {signal.Signals(-code).name}"
    for rank, code in enumerate(signs.exits):
        if code == FLAWED:
            return rank, "came upon weights or gradients that are not finite"
        if code and code not in (YIELDED, PARTED):
            return rank, f"ended with exit code {code}"
    running = [rank for rank, code in enumerate(signs.exits) if code is None]
    for rank in running:
        bound_s = patience.quiet_s if signs.stepped[rank] else patience.begin_s
        if signs.quiet_s[rank] > bound_s:
            return rank, f"no step for {signs.quiet_s[rank]:.1f} s"
    if PARTED not in signs.exits:
        return None
    if not running:
        return signs.exits.index(PARTED), "lost another"
    if signs.parted_s > _PARTED_S:
        return max(running, key=lambda rank: signs.quiet_s[rank]), "is not there for the others"
    return None


def launch(
    job: Job,
    patience: Patience | None = None,
    tick: Callable[[], None] | None = None,
    *,
    elastic: Elastic | None = None,
) -> None:
    """Runs a job to its end on this computer, one process a rank.

    Args:
        job: what is trained; must have been written to its folder.
        patience: the bounds.
        tick: called every now and then, to show progress.
        elastic: goes on with fewer ranks when one is lost, and with all when its place is back;
            None starts all of them again.

    Raises:
        InputError: the job is wrong, or another run is at work in its folder.
        EngineError: ranks were lost too often; the last reason is named.
    """
    with alone(job.out):
        bounds = patience or Patience(quiet_s=max(60.0, 2.0 * job.stall_s))
        watch = _Watch(job, bounds, elastic)
        try:
            watch.run(tick or (lambda: None))
        finally:
            watch.end()


class _Watch:
    """The ranks of one job, and what became of them."""

    def __init__(self, job: Job, patience: Patience, elastic: Elastic | None) -> None:
        self._whole = self._job = job
        self._patience, self._elastic = patience, elastic
        self._places = Places(job.layout.ranks, elastic, time.monotonic)
        self._used = list(range(job.layout.ranks))
        self._slow: int | None = None
        self._record = Record(job.out / RECORD_FILE)
        self._ranks: list[subprocess.Popen[bytes]] = []
        self._logs: list[IO[bytes]] = []
        self._attempt = self._losses = 0
        self._begun_s = self._looked_s = self._awake_s = 0.0
        self._parted_s: float | None = None
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
                verdict, rank, why = self._look_for_slow()
            if verdict is Verdict.GO_ON:
                self._look_for_places()
                tick()
                time.sleep(_LOOK_S)
                continue
            if verdict is Verdict.DONE:
                tick()
                self._sum_up()
                return
            if verdict is Verdict.RESIZE:
                self.end()
                self._start()
                continue
            assert rank is not None
            self._lose(rank, why, signs)
            if verdict is Verdict.GIVE_UP:
                self._sum_up()
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
        self._job, self._used = self._places.job_on(self._whole)
        job, count = self._job, self._job.layout.ranks
        job.write(ATTEMPT_FILE)
        (job.out / YIELD_FILE).unlink(missing_ok=True)
        self._slow = None
        self._record.write(
            "start", attempt=self._attempt, layout=job.layout.describe(), ranks=count
        )
        meet = job.out / f"meet-{os.getpid()}-{self._attempt}"
        for folder in (job.out / LOGS, job.out / ALIVE):
            folder.mkdir(parents=True, exist_ok=True)
        self._begun_s = time.time()
        for rank in range(count):
            (job.out / LOGS / f"rank-{rank}.error").unlink(missing_ok=True)
            for sign in (f"rank-{rank}", f"rank-{rank}{DONE}"):
                (job.out / ALIVE / sign).unlink(missing_ok=True)
            env = {
                **os.environ,
                "RANK": str(rank),
                "LOCAL_RANK": str(self._used[rank]),
                "WORLD_SIZE": str(count),
                "LOCAL_WORLD_SIZE": str(count),
                MEET: str(meet.resolve()),
                # Otherwise gloo looks the host's name up, which may lead to another interface.
                "GLOO_SOCKET_IFNAME": "lo" if sys.platform.startswith("linux") else "lo0",
            }
            self._logs.append((job.out / LOGS / f"rank-{rank}.log").open("ab"))
            self._ranks.append(
                subprocess.Popen(
                    [
                        sys.executable,
                        "-m",
                        "sextant.systems.pretraining",
                        str(job.out / ATTEMPT_FILE),
                    ],
                    env=env,
                    stdout=self._logs[-1],
                    stderr=self._logs[-1],
                    stdin=subprocess.DEVNULL,
                    preexec_fn=_die_with_parent,
                )
            )

    def _look_for_slow(self) -> tuple[Verdict, int | None, str]:
        """Names a slow rank once; one whose place can be spared is treated as lost.

        Each time that costs the steps since a checkpoint: as often in a row as ranks may be lost.
        """
        ranks = range(len(self._ranks))
        paces = [read_pace(self._job.out / ALIVE / f"rank-{rank}") for rank in ranks]
        found = slowest(paces, self._patience.slow)
        if found is None or found[0] == self._slow:
            return Verdict.GO_ON, None, ""
        self._slow, times = found
        why = f"takes {times:.1f} times as long as the others"
        self._record.write("slow", rank=self._slow, times=times, attempt=self._attempt)
        spare = self._places.can_spare(self._used[self._slow], self._whole)
        if not spare or self._losses_in_row() > self._patience.restarts:
            return Verdict.GO_ON, None, ""
        return Verdict.RESTART, self._slow, why

    def _look_for_places(self) -> None:
        """Asks the ranks to end at their next checkpoint if more of them could run."""
        if self._job.layout.ranks == self._whole.layout.ranks:
            return
        could, _ = self._places.job_on(self._whole)
        if could.layout.ranks > self._job.layout.ranks:
            (self._job.out / YIELD_FILE).touch()

    def _sum_up(self) -> None:
        """Writes what the record says of all losses together."""
        events = list(read(self._job.out / RECORD_FILE))
        self._record.write(
            "whole",
            recoveries=[asdict(one) for one in recoveries(events)],
            goodput=goodput(events),
        )

    def _signs(self) -> Signs:
        beats = [self._beat_s(rank) for rank in range(len(self._ranks))]
        now_s = time.time()
        if now_s - self._looked_s > _NAP_S:
            # This process stood still itself (a sleeping laptop, a stop): so did the ranks.
            self._awake_s = now_s
        self._looked_s = now_s
        exits = [process.poll() for process in self._ranks]
        if PARTED not in exits:
            self._parted_s = None
        elif self._parted_s is None:
            self._parted_s = now_s
        return Signs(
            exits=exits,
            quiet_s=[now_s - max(beat or self._begun_s, self._awake_s) for beat in beats],
            stepped=[
                beat_s is not None and not (self._job.out / ALIVE / f"rank-{rank}{DONE}").exists()
                for rank, beat_s in enumerate(beats)
            ],
            losses=self._losses_in_row() - 1,
            parted_s=0.0 if self._parted_s is None else now_s - max(self._parted_s, self._awake_s),
        )

    def _beat_s(self, rank: int) -> float | None:
        try:
            return (self._job.out / ALIVE / f"rank-{rank}").stat().st_mtime
        except FileNotFoundError:
            return None

    def _lose(self, rank: int, why: str, signs: Signs) -> None:
        """Writes down what was seen, and ends the ranks that cannot go on without the lost one."""
        self._losses, self._saved = self._losses_in_row(), self._newest()
        if signs.exits[rank] not in (FLAWED, PARTED):  # those would fail in any place
            self._places.lose(self._used[rank])
        self._record.write(
            "lost", rank=rank, why=why, since_step_s=signs.quiet_s[rank], attempt=self._attempt
        )
        self.end()

    def _losses_in_row(self) -> int:
        """How many it would be with one more now; a checkpoint since the last forgives."""
        return 1 if self._newest() != self._saved else self._losses + 1

    def _newest(self) -> list[str]:
        return [path.name for path in checkpoint.found(self._job.out)[:1]]

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
def alone(out: Path) -> Iterator[None]:
    """Keeps a second run out of the folder.

    Raises:
        InputError: one is at work there, or it is no folder that can be locked.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        held = (out / ".lock").open("w")
    except OSError as error:
        hint = "give another folder with --out"
        raise InputError(
            f"no folder for a run: {error.strerror}", where=str(out), hint=hint
        ) from None
    with held as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError("another run is at work here", where=str(out)) from None
        except OSError as error:
            what = f"its disk keeps no second run out: {error.strerror}"
            raise InputError(what, where=str(out), hint="a local disk, or NFS with locks") from None
        for left in out.glob("meet-*"):
            left.unlink()
        yield


def _die_with_parent() -> None:
    """Ties a rank to this process, whatever ends it."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
