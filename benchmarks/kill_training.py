"""`kill -9` at 50 random instants of a training: it goes on, to the weights of one left alone.

A rank, or now and then the process that watches the ranks, is killed; the phase that it was in is
written down: starting, stepping, or inside a save. `SEXTANT_KILLS` changes the number.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from benchmarks.bench import Figure
from sextant.decoder.config import DecoderConfig
from sextant.decoder.mesh import Degrees
from sextant.systems.pretraining import checkpoint, record
from sextant.systems.pretraining.job import RECORD_FILE, Job, Recipe
from sextant.systems.pretraining.prepare import Wish, prepare
from sextant.systems.pretraining.saved import open_saved
from sextant.systems.pretraining.text import Source

_LONGEST_S, _LONGEST_RUN_S = 180.0, 1800.0
_WATCHER_LOG = "watcher.log"
_WATCHER = (
    "import sys; from pathlib import Path; from sextant.systems.pretraining.job import Job; "
    "from sextant.systems.pretraining.launch import Patience, launch; "
    "bounds = Patience(restarts=1000, quiet_s=float(sys.argv[2]), begin_s=60.0); "
    "launch(Job.read(Path(sys.argv[1])), bounds)"
)

KILL, STOP, HOLD, WATCHER = "kill a rank", "stop a rank", "hold a rank", "kill the watcher"
_QUIET_S, _HELD_S = 10.0, 0.5


def run() -> list[Figure]:
    """Kills, resumes, compares bit for bit."""
    kills = int(os.environ.get("SEXTANT_KILLS", "50"))
    return faulted(kills, Degrees(), {KILL: 0.8, WATCHER: 0.2})


def faulted(count: int, layout: Degrees, kinds: dict[str, float]) -> list[Figure]:
    """Trains through so many faults of kinds with these weights; compares bit for bit."""
    import torch

    with tempfile.TemporaryDirectory() as folder:
        job = _job(Path(folder), steps=12 * count)
        job = replace(job, layout=layout, micro_batch=job.batch // layout.data)
        plain = replace(job, out=Path(folder) / "plain")
        for one in (job, plain):
            one.write()
        _ended(_watch(plain), plain)
        begun_s = time.perf_counter()
        seen, resumed = _strike_all(job, count, kinds)
        seconds = time.perf_counter() - begun_s
        ours, theirs = open_saved(job.out), open_saved(plain.out)
        same = ours.step == theirs.step == job.steps and all(
            torch.equal(a, b)
            for a, b in zip(ours.model.parameters(), theirs.model.parameters(), strict=True)
        )
        torn = sum(
            "torn" in event["what"] for event in record.read(job.out / RECORD_FILE, "trouble")
        )
    return [
        Figure(
            name="faults after which it went on",
            measured=resumed,
            unit="",
            bar=f"all {count}",
            held=resumed == count,
            beside={**seen, "seconds": seconds},
        ),
        Figure(
            name="weights bit for bit",
            measured=float(same),
            unit="",
            bar="1: those of a run left alone",
            held=same,
            beside={"torn checkpoints": torn},
        ),
    ]


def made_up_tokens(folder: Path, lines: int) -> Path:
    """Tokens (512 ids) of a text that is made up."""
    (folder / "text.txt").write_text("".join(f"line {n} of {n * n}\n" for n in range(lines)))
    wish = Wish(sources=(Source(path=folder / "text.txt"),), num_ids=512, held_fraction=0.0)
    prepare(wish, folder / "tokens", lambda _done, _all: None)
    return folder / "tokens"


def _job(folder: Path, steps: int) -> Job:
    data = made_up_tokens(folder, 20_000)
    return Job(
        model=DecoderConfig(
            vocab=512, hidden=256, layers=4, heads=4, kv_heads=2, head_dim=64, ffn=512, context=32
        ),
        data=data,
        out=folder / "run",
        steps=steps,
        batch=4,
        sequence=32,
        micro_batch=4,
        recipe=Recipe(learning_rate=1e-3, warmup_steps=3),
        checkpoint_steps=3,  # so that it is saving for much of the time
        threads=1,
        pace_s=0.0,
    )


def _watch(job: Job) -> subprocess.Popen[bytes]:
    with (job.out / _WATCHER_LOG).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-c", _WATCHER, str(job.out / "job.json"), str(_QUIET_S)],
            stdout=subprocess.DEVNULL,
            stderr=log,
        )


def _ended(watcher: subprocess.Popen[bytes], job: Job) -> None:
    """Waits for the end of a run.

    Raises:
        RuntimeError: it failed, with what it said last.
    """
    if watcher.wait(_LONGEST_RUN_S):
        said = (job.out / _WATCHER_LOG).read_text(encoding="utf-8", errors="replace")
        raise RuntimeError(f"the watcher ended with {watcher.returncode}: {said[-2000:]}")


def _strike_all(job: Job, count: int, kinds: dict[str, float]) -> tuple[Counter[str], int]:
    """Strikes so many times, each when the run has come a little further; then lets it end."""
    dice, seen = random.Random(7), Counter[str]()
    resumed, watcher = 0, _watch(job)
    for number in range(count):
        reached = _begins(job)
        time.sleep(dice.uniform(0.0, 0.4) if dice.random() < 0.8 else 0.0)
        (kind,) = dice.choices([*kinds], [*kinds.values()])
        victim = watcher.pid if kind == WATCHER else _rank_of(watcher.pid, dice)
        if victim is None or watcher.poll() is not None:
            break
        seen.update((kind, f"while {_phase(job, reached)}"))
        _strike(victim, kind)
        taken = len(record.steps(job.out / RECORD_FILE))
        if kind == WATCHER:
            watcher.wait()
            watcher = _watch(job)
        if kind == HOLD:
            resumed += _stepped(job, taken)
        else:
            resumed += _went_on(job, reached, number == count - 1)
    _ended(watcher, job)
    return seen, resumed


def _strike(victim: int, kind: str) -> None:
    """Does it to a process, which may have ended by itself."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL if kind in (KILL, WATCHER) else signal.SIGSTOP)
        if kind == HOLD:
            time.sleep(_HELD_S)
            os.kill(victim, signal.SIGCONT)


def _stepped(job: Job, taken: int) -> bool:
    """Waits until the run took another step."""
    until_s = time.monotonic() + _LONGEST_S
    while time.monotonic() < until_s:
        if len(record.steps(job.out / RECORD_FILE)) > taken:
            return True
        time.sleep(0.02)
    return False


def _begins(job: Job) -> int:
    return len(list(record.read(job.out / RECORD_FILE, "begin")))


def _went_on(job: Job, reached: int, last: bool) -> bool:
    """Waits until the ranks began anew and took a step (now and then not so long, but the last)."""
    until_s = time.monotonic() + _LONGEST_S
    while time.monotonic() < until_s:
        events = list(record.read(job.out / RECORD_FILE))
        begun = [at for at, event in enumerate(events) if event["kind"] == "begin"]
        if len(begun) > reached and (not last or events[-1]["kind"] != "begin"):
            return True
        time.sleep(0.02)
    return False


def _phase(job: Job, reached: int) -> str:
    if not reached or not list(record.read(job.out / RECORD_FILE, "step")):
        return "starting"
    saving = list((job.out / checkpoint.FOLDER).glob("*.building"))
    return "saving" if saving else "stepping"


def _rank_of(watcher: int, dice: random.Random) -> int | None:
    import psutil

    until_s = time.monotonic() + _LONGEST_S
    while time.monotonic() < until_s:
        if ranks := psutil.Process(watcher).children():
            return int(dice.choice(ranks).pid)
        time.sleep(0.01)
    return None
