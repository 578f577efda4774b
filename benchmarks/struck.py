"""A training that is struck again and again, at random instants: what every strike does, and when.

Six kinds. A node that is gone takes all of its ranks and the process that watches them; a NaN is
put into the weights of a rank by a hook in every rank (`hooks/`); the disk is one of memory,
which a file fills up. What each struck is written down: starting, stepping, or inside a save.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sextant.systems.pretraining import checkpoint, record
from sextant.systems.pretraining.job import RECORD_FILE, Job

KILL, STOP, NODE = "kill a rank", "stop a rank", "a node gone"
SLOW, NAN, DISK = "slow a rank", "a NaN in the weights", "a full disk"
GOES_ON = (SLOW, DISK)
"""Kinds through which the ranks stay."""

_HOOKS = Path(__file__).parent / "hooks"
_DISK_BYTES, _LINES_BYTES = 256 << 20, 64 << 10
_LONGEST_S, _LONGEST_RUN_S, _QUIET_S = 240.0, 1800.0, 10.0
_SOON = 0.15
"""The share of strikes that come while the ranks still start again after the one before."""
_STARTS_S, _MOST_STEPS, _STEP_S = 2.5, 6, 0.1
_LOOK_S, _NAP_S = 0.01, 2.0
_WATCHER_LOG = "watcher.log"
_WATCHER = (
    "import sys; from pathlib import Path; from sextant.systems.pretraining.job import Job; "
    "from sextant.systems.pretraining.launch import Patience, launch; "
    "bounds = Patience(restarts=1000, quiet_s=float(sys.argv[2]), begin_s=60.0); "
    "launch(Job.read(Path(sys.argv[1])), bounds)"
)


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mounts a small disk at a folder, if that is allowed here; says whether it was."""
    folder.mkdir(parents=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", str(folder)]
    mounted = subprocess.run(words, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)


def watch(job: Job) -> subprocess.Popen[bytes]:
    """Starts the process that runs a job; its ranks carry the hook that poisons them."""
    paths = [str(_HOOKS), os.environ.get("PYTHONPATH", "")]
    with (job.out / _WATCHER_LOG).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-c", _WATCHER, str(job.out / "job.json"), str(_QUIET_S)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            stdout=subprocess.DEVNULL,
            stderr=log,
        )


def ended(watcher: subprocess.Popen[bytes], job: Job) -> None:
    """Waits for the end of a run.

    Raises:
        RuntimeError: it failed, with what it said last.
    """
    if watcher.wait(_LONGEST_RUN_S):
        said = (job.out / _WATCHER_LOG).read_text(encoding="utf-8", errors="replace")
        raise RuntimeError(f"the watcher ended with {watcher.returncode}: {said[-2000:]}")


class Strikes:
    """Strikes one run, and sees it go on.

    Args:
        job: of the run; written.
        kinds: what may strike, and how often.
        dice: decide what and when.
    """

    def __init__(self, job: Job, kinds: dict[str, float], dice: random.Random) -> None:
        self._job, self._kinds, self._dice = job, kinds, dice
        self._path = job.out / RECORD_FILE
        self._watcher = watch(job)
        self._ended = 0
        """Attempts that had begun when the ranks were last ended."""
        self.seen: Counter[str] = Counter()
        self.resumed = 0

    def all(self, count: int) -> None:
        """Strikes so many times, each when the run has come a little further; lets it end."""
        waiting = 0
        for number in range(count):
            if not waiting:
                self._come_further()
            (kind,) = self._dice.choices([*self._kinds], [*self._kinds.values()])
            begun, taken = self._begun(), len(record.steps(self._path))
            if self._watcher.poll() is not None:
                break
            self.seen[f"{kind}, {self._phase()}"] += 1
            struck = self._strike(kind)
            waiting += struck
            if kind in (KILL, NODE):
                self._ended = begun
                if number < count - 1 and self._dice.random() < _SOON:
                    time.sleep(self._dice.uniform(0.0, _STARTS_S))
                    continue
            went_on = self._stepped(taken) if kind in GOES_ON else self._went_on(begun)
            self.resumed += waiting if went_on else 0
            waiting = 0
        ended(self._watcher, self._job)

    def _come_further(self) -> None:
        """Waits for a random few steps, and for a part of one."""
        taken = len(list(record.read(self._path, "step")))
        due = taken + self._dice.randint(0, _MOST_STEPS)
        self._until(lambda: len(list(record.read(self._path, "step"))) >= due)
        time.sleep(self._dice.uniform(0.0, _STEP_S))

    def _strike(self, kind: str) -> bool:
        """Does it; says whether it landed."""
        if kind == NODE:
            self._watcher.kill()  # its ranks die with it
            self._watcher.wait()
            self._watcher = watch(self._job)
            return True
        if kind == DISK:
            return self._fill()
        pid = self._rank()
        if pid is None:
            return False
        # A rank may have ended by itself: the run then goes on all the same.
        with contextlib.suppress(ProcessLookupError):
            if kind == SLOW:
                _slow(pid)
            else:
                number = {KILL: signal.SIGKILL, STOP: signal.SIGSTOP, NAN: signal.SIGUSR1}[kind]
                os.kill(pid, number)
        return True

    def _fill(self) -> bool:
        """Leaves room for lines but for no checkpoint, until the run has felt it."""
        felt = self._full()
        disk = self._job.out.parent
        ballast = disk / "ballast"
        with ballast.open("wb", buffering=0) as stream:

            def filled() -> bool:
                told = os.statvfs(disk)
                spare = told.f_bavail * told.f_frsize - _LINES_BYTES
                with contextlib.suppress(OSError):
                    stream.write(b"\0" * max(spare, 0))
                return self._full() > felt

            landed = self._until(filled)
        ballast.unlink()
        return landed

    def _full(self) -> int:
        return sum("No space" in event["what"] for event in record.read(self._path, "trouble"))

    def _phase(self) -> str:
        if self._begun() <= self._ended:
            return "starting"
        saving = list((self._job.out / checkpoint.FOLDER).glob("*.building"))
        return "saving" if saving else "stepping"

    def _begun(self) -> int:
        return len(list(record.read(self._path, "begin")))

    def _stepped(self, taken: int) -> bool:
        """Whether the run took another step, in time."""
        return self._until(lambda: len(record.steps(self._path)) > taken)

    def _went_on(self, begun: int) -> bool:
        """Whether ranks began anew and took a step, in time."""

        def found() -> bool:
            kinds = [event["kind"] for event in record.read(self._path)]
            begins = [at for at, kind in enumerate(kinds) if kind == "begin"]
            return len(begins) > begun and "step" in kinds[begins[-1] :]

        return self._until(found)

    def _rank(self) -> int | None:
        import psutil

        def ranks() -> list[int]:
            with contextlib.suppress(psutil.NoSuchProcess):
                return [child.pid for child in psutil.Process(self._watcher.pid).children()]
            return []

        return self._dice.choice(ranks()) if self._until(lambda: bool(ranks())) else None

    def _until(self, true: Callable[[], bool]) -> bool:
        looked_s = time.monotonic()
        until_s = looked_s + _LONGEST_S
        while not true():
            if time.monotonic() > until_s or self._watcher.poll() is not None:
                return true()
            time.sleep(_LOOK_S)
            now_s = time.monotonic()
            if now_s - looked_s > _NAP_S:  # this process stood still itself, and so did the ranks
                until_s += now_s - looked_s
            looked_s = now_s
        return True


def _slow(pid: int) -> None:
    """Lets a rank run a tenth of the time, for half a second."""
    for _ in range(10):
        for number, seconds in ((signal.SIGSTOP, 0.045), (signal.SIGCONT, 0.005)):
            os.kill(pid, number)
            time.sleep(seconds)
