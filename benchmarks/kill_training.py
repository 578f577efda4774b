"""`kill -9` at 50 random instants of a training: it goes on, to the weights of one left alone.

A rank, or now and then all of a node with the process that watches the ranks, is killed; the phase
that it was in is written down: starting, stepping, or inside a save. `SEXTANT_KILLS` changes the
number.
"""

from __future__ import annotations

import os
import random
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.bench import Figure
from benchmarks.struck import DISK, KILL, NODE, Strikes, ended, small_disk, watch
from sextant.decoder.config import DecoderConfig
from sextant.decoder.mesh import Degrees
from sextant.laws import failures
from sextant.systems.pretraining import record
from sextant.systems.pretraining.job import RECORD_FILE, Job, Recipe
from sextant.systems.pretraining.prepare import Wish, prepare
from sextant.systems.pretraining.recovery import goodput, recoveries
from sextant.systems.pretraining.saved import open_saved
from sextant.systems.pretraining.text import Source


def run() -> list[Figure]:
    """Kills, resumes, compares bit for bit."""
    kills = int(os.environ.get("SEXTANT_KILLS", "50"))
    return faulted(kills, Degrees(), {KILL: 0.8, NODE: 0.2})


def faulted(count: int, layout: Degrees, kinds: dict[str, float]) -> list[Figure]:
    """Trains through so many faults of kinds with these weights; compares bit for bit."""
    with tempfile.TemporaryDirectory() as folder, small_disk(Path(folder) / "disk") as mounted:
        job = _job(Path(folder), steps=12 * count)
        job = replace(job, layout=layout, micro_batch=job.batch // layout.data)
        plain = replace(job, out=Path(folder) / "plain")
        for one in (job, plain):
            one.write()
        ended(watch(plain), plain)
        if not mounted:
            kinds = {kind: weight for kind, weight in kinds.items() if kind != DISK}
        begun_s = time.perf_counter()
        strikes = Strikes(job, kinds, random.Random(7))
        strikes.all(count)
        seconds = time.perf_counter() - begun_s
        return [
            Figure(
                name="faults after which it went on",
                measured=strikes.resumed,
                unit="",
                bar=f"all {count}",
                held=strikes.resumed == count,
                beside={
                    **strikes.seen,
                    "a disk to fill": mounted,
                    "seconds": seconds,
                    **_mended(job, plain, seconds / count),
                },
            ),
            _compared(job, plain),
        ]


def _mended(job: Job, plain: Job, mtbf_s: float) -> dict[str, float]:
    """What the record says of the losses together, and the law of what a loss costs.

    The law knows the pace of faults, a step of the run left alone, and the median restart.
    """
    step_s = statistics.median(e["seconds"] for e in record.read(plain.out / RECORD_FILE, "step"))
    events = list(record.read(job.out / RECORD_FILE))
    found = recoveries(events)
    again_s = [one.restart_s for one in found if one.restart_s is not None]
    lost = [one.steps_lost for one in found if one.steps_lost is not None]
    each = [one.detect_s + (one.restart_s or 0.0) + (one.warm_s or 0.0) for one in found]
    law = failures.goodput(
        mtbf=mtbf_s,
        save_s=0.0,  # written beside the steps
        restart_s=statistics.median(each) if each else 0.0,
        interval_s=job.checkpoint_steps * step_s,
    )
    return {
        "losses seen": len(found),
        "longest to detect, s": max((one.detect_s for one in found), default=0.0),
        "restart, median, s": statistics.median(again_s) if again_s else 0.0,
        "steps lost, most": max(lost, default=0),
        "steps lost": sum(lost),
        "goodput": goodput(events) or 0.0,
        "goodput by the law": law.useful,
    }


def _compared(job: Job, plain: Job) -> Figure:
    import torch

    ours, theirs = open_saved(job.out), open_saved(plain.out)
    same = ours.step == theirs.step == job.steps and all(
        torch.equal(a, b)
        for a, b in zip(ours.model.parameters(), theirs.model.parameters(), strict=True)
    )
    troubles = [event["what"] for event in record.read(job.out / RECORD_FILE, "trouble")]
    return Figure(
        name="weights bit for bit",
        measured=float(same),
        unit="",
        bar="1: those of a run left alone",
        held=same,
        beside={
            "steps": job.steps,
            "torn checkpoints": sum("torn" in what for what in troubles),
            "checkpoints refused for a NaN": sum("not finite" in what for what in troubles),
        },
    )


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
        out=folder / "disk" / "run",
        steps=steps,
        batch=4,
        sequence=32,
        micro_batch=4,
        recipe=Recipe(learning_rate=1e-3, warmup_steps=3),
        checkpoint_steps=3,  # so that it is saving for much of the time
        threads=1,
        pace_s=0.0,
    )
