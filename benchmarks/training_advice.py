"""The plan's advice for a job that fails often, beside a drill: how often to save, and whether to
go on with fewer ranks.

Pieces are measured first, without a drill: a step, what a checkpoint costs it, and one restart.
From them the laws say the best interval and each goodput; then ranks are killed at the raised rate,
at instants as random as the law's. Useful is a step that stayed, by its time in the run left alone.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import psutil

from benchmarks.bench import Figure
from benchmarks.kill_training import made_up_tokens
from sextant.decoder.config import DecoderConfig
from sextant.decoder.mesh import Degrees
from sextant.laws import failures
from sextant.systems.pretraining import record
from sextant.systems.pretraining.elastic import Elastic
from sextant.systems.pretraining.job import RECORD_FILE, Job, Recipe
from sextant.systems.pretraining.launch import Patience, launch
from sextant.systems.pretraining.recovery import recoveries

_MTBF_S, _SECONDS = 15.0, float(os.environ.get("SEXTANT_ADVICE_S", "150"))
_SELDOM = 16
"""Times the advised interval, for the run that does not heed it."""
_PIECES_STEPS, _OFTEN, _STEPS = 120, 4, 1_000_000
_PATIENCE = Patience(restarts=1000)
_AT_ONCE = Elastic(probation_s=1e-3)


class _Over(Exception):  # noqa: N818
    """The time of a run is over."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pieces:
    """What was measured before any drill, in seconds; `lost_share` of the pace with one rank."""

    step_s: float
    save_s: float
    restart_s: float
    lost_share: float

    def goodput(self, interval_s: float, *, elastic: bool, mtbf_s: float = _MTBF_S) -> float:
        """What the law says of a run that fails at the raised rate, or at another."""
        # Shrunk until the next checkpoint, then started once more.
        more_s = self.restart_s + interval_s * self.lost_share if elastic else 0.0
        return failures.goodput(
            mtbf=mtbf_s,
            save_s=self.save_s,
            restart_s=self.restart_s + more_s,
            interval_s=interval_s,
        ).useful


def run() -> list[Figure]:
    """Three drills: as advised, with checkpoints seldom, and going on with fewer ranks."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job = _job(folder)
        pieces = _pieces(job, folder)
        best_s = failures.optimal_interval_s(pieces.save_s, _MTBF_S)
        best = max(1, round(best_s / pieces.step_s))
        runs = {
            "as advised": (best, None),
            f"saved {_SELDOM} times as seldom": (_SELDOM * best, None),
            "with fewer ranks meanwhile": (best, _AT_ONCE),
        }
        found = []
        for number, (title, (steps, elastic)) in enumerate(runs.items()):
            one = replace(job, out=folder / f"run-{number}", checkpoint_steps=steps, steps=_STEPS)
            measured, losses = _drilled(one, elastic, pieces.step_s)
            said = partial(pieces.goodput, steps * pieces.step_s, elastic=elastic is not None)
            beside = {
                "predicted": said(),
                "predicted of as many losses": said(mtbf_s=_SECONDS / max(1, losses)),
                "steps between checkpoints": steps,
                "losses": losses,
            }
            found.append(Figure(name=f"goodput {title}", measured=measured, unit="", beside=beside))
    advised = found[0].measured
    return [
        *found,
        Figure(
            name="the advice is the best of the three",
            measured=float(advised == max(one.measured for one in found)),
            unit="",
            bar="1",
            held=advised == max(one.measured for one in found),
            beside={
                "a step, s": pieces.step_s,
                "a checkpoint, s": pieces.save_s,
                "a restart, s": pieces.restart_s,
                "lost with a rank": pieces.lost_share,
                "worth waiting, s": failures.elastic_worth_s(pieces.restart_s, pieces.lost_share),
            },
        ),
    ]


def _pieces(job: Job, folder: Path) -> _Pieces:
    """A step, what a checkpoint adds, one restart, and the pace of one rank of two."""
    plain = _seconds(replace(job, out=folder / "plain"))
    saving = _seconds(replace(job, out=folder / "saving", checkpoint_steps=_OFTEN))
    alone = _seconds(replace(job, out=folder / "alone", layout=Degrees(), micro_batch=job.batch))
    struck = replace(job, out=folder / "struck", checkpoint_steps=_OFTEN)
    struck.write()
    path = struck.out / RECORD_FILE
    left = [None]

    def tick() -> None:
        if left and len(record.steps(path)) > _PIECES_STEPS // 2:
            left.pop()
            _kill(struck, random.Random(0))

    launch(struck, _PATIENCE, tick)
    (loss,) = recoveries(record.read(path))
    saves = _PIECES_STEPS // _OFTEN
    return _Pieces(
        step_s=plain / _PIECES_STEPS,
        save_s=max(1e-3, (saving - plain) / saves),
        restart_s=loss.detect_s + (loss.restart_s or 0.0) + (loss.warm_s or 0.0),
        lost_share=max(0.0, 1.0 - plain / alone),
    )


def _seconds(job: Job) -> float:
    """What the steps of a run left alone take in all, with what lies between them."""
    job.write()
    launch(job, _PATIENCE)
    at_s = [float(event["at_s"]) for event in record.read(job.out / RECORD_FILE, "step")]
    gaps = [later - sooner for sooner, later in pairwise(at_s)]
    return statistics.mean(gaps[len(gaps) // 10 :]) * _PIECES_STEPS


def _drilled(job: Job, elastic: Elastic | None, step_s: float) -> tuple[float, int]:
    """The goodput of a run whose ranks are killed, and how often one was lost."""
    job.write()
    path, dice = job.out / RECORD_FILE, random.Random(7)
    tick = _killing(job, dice)
    with contextlib.suppress(_Over):
        launch(job, _PATIENCE, tick, elastic=elastic)
    taken = record.steps(path)
    return len(taken) * step_s / _SECONDS, len(list(record.read(path, "lost")))


def _killing(job: Job, dice: random.Random) -> Callable[[], None]:
    """Kills a rank every now and then from the first step on, and ends the run in time."""
    path = job.out / RECORD_FILE
    end_s = due_s = 0.0

    def tick() -> None:
        nonlocal end_s, due_s
        now_s = time.monotonic()
        if not end_s:
            if record.steps(path):
                end_s, due_s = now_s + _SECONDS, now_s + dice.expovariate(1.0 / _MTBF_S)
            return
        if now_s >= end_s:
            raise _Over
        if now_s >= due_s:
            due_s = now_s + dice.expovariate(1.0 / _MTBF_S)
            _kill(job, dice)

    return tick


def _kill(job: Job, dice: random.Random) -> None:
    ranks = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if any(str(job.out) in word for word in child.cmdline()):
                ranks.append(child.pid)
    if ranks:
        with contextlib.suppress(ProcessLookupError):
            os.kill(dice.choice(ranks), signal.SIGKILL)


def _job(folder: Path) -> Job:
    return Job(
        model=DecoderConfig(
            vocab=512, hidden=256, layers=4, heads=4, kv_heads=2, head_dim=64, ffn=512, context=32
        ),
        data=made_up_tokens(folder, 20_000),
        out=folder / "run",
        steps=_PIECES_STEPS,
        batch=8,
        sequence=32,
        micro_batch=4,
        layout=Degrees(dp=2),
        recipe=Recipe(learning_rate=1e-3, warmup_steps=3),
        checkpoint_steps=_PIECES_STEPS,
        threads=1,
        pace_s=0.0,
    )
