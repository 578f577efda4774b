"""A rehearsal of training: a model with the plan's proportions, trained here, and measured."""

from __future__ import annotations

import os
import statistics
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from pydoc_data import topics

from sextant.axes import Axis
from sextant.decoder.config import DecoderConfig
from sextant.decoder.mesh import Degrees
from sextant.errors import SextantError
from sextant.fleet.ledger import Ledger
from sextant.plan.training_rehearsal import RehearsalCosts, TrainingShape
from sextant.systems.pretraining import checkpoint, record
from sextant.systems.pretraining.auto import shape_of
from sextant.systems.pretraining.counted import counted_bytes
from sextant.systems.pretraining.job import RECORD_FILE, Job, Recipe
from sextant.systems.pretraining.kernels import data_s
from sextant.systems.pretraining.launch import launch
from sextant.systems.pretraining.prepare import Wish, prepare
from sextant.systems.pretraining.sampler import training_sampler
from sextant.systems.pretraining.text import Source
from sextant.systems.pretraining.tokens import Tokens
from sextant.systems.pretraining.unit_costs import measured_costs, start_s, step_shape

RANKS = 2
_HIDDEN, _HEADS, _LAYERS, _VOCAB = 128, 8, 4, 2048
_BATCH, _SEQUENCE, _MICRO_BATCH, _STEPS_A_MINUTE = 16, 64, 8, 20
_WARM_STEPS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Observed:
    """What was measured, by the names of the predictions, and the ledger's shares."""

    values: Mapping[str, float]
    lean: Mapping[str, Mapping[str, float]]


def small_model(*, ffn_ratio: float, heads_per_key: float) -> DecoderConfig:
    """A decoder of a few million numbers with the proportions of a large one."""
    return DecoderConfig(
        vocab=_VOCAB,
        hidden=_HIDDEN,
        layers=_LAYERS,
        heads=_HEADS,
        kv_heads=max(n for n in (1, 2, 4, 8) if n <= max(1.0, _HEADS / heads_per_key)),
        head_dim=_HIDDEN // _HEADS,
        ffn=32 * round(_HIDDEN * ffn_ratio / 32),
        context=_SEQUENCE,
    )


def make_job(model: DecoderConfig, folder: Path, text: Path | None, minutes: float) -> Job:
    """The job of a rehearsal; without a text it learns the documentation that Python carries.

    Raises:
        InputError: there is no text, or too little.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if text is None:
        text = folder / "topics.txt"
        text.write_text("\n".join(topics.topics[name] for name in sorted(topics.topics)))
    wish = Wish(sources=(Source(path=text),), num_ids=model.vocab, held_fraction=0.0)
    prepare(wish, folder / "tokens", lambda _done, _all: None)
    steps = max(12, round(_STEPS_A_MINUTE * minutes))
    return Job(
        model=model,
        data=folder / "tokens",
        out=folder / "run",
        steps=steps,
        batch=_BATCH,
        sequence=_SEQUENCE,
        micro_batch=_MICRO_BATCH,
        recipe=Recipe(learning_rate=1e-3, warmup_steps=5),
        layout=Degrees(dp=RANKS),
        checkpoint_steps=max(4, steps // 4),
        keep=1,
        threads=1,
        pace_s=0.0,
    )


def shape_in(job: Job) -> TrainingShape:
    """The job as its predictions see it."""
    return TrainingShape(
        model=shape_of(job.model, job.sequence),
        step=step_shape(job, _cores()),
        ranks=job.layout.ranks,
        batch=job.batch,
        micro_batch=job.micro_batch,
        steps=job.steps,
        saves=-(-job.steps // job.checkpoint_steps),
    )


def unit_costs(job: Job) -> RehearsalCosts:
    """Times of single pieces at the job's sizes, to predict from."""
    return RehearsalCosts(step=measured_costs(job, _cores()), start_s=start_s())


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def rehearse(job: Job) -> Observed:
    """Trains, once as the layout says and once with its ranks apart, and measures.

    The step of ranks that exchange nothing is what computing takes while all cores are busy; what
    the layout's step takes longer is communication that computing does not hide.

    Raises:
        SextantError: a rank cannot be run to its end.
    """
    job.write()
    launch(job)
    events = list(record.read(job.out / RECORD_FILE))
    step_s = _typical_s(job)
    sampler = training_sampler(Tokens.open(job.data), sequence=job.sequence, seed=job.seed)
    drawn_s = data_s(sampler, job.batch // job.layout.ranks)
    compute_s = _apart_s(job) - drawn_s
    stalls = [e["stall_s"] for e in events if e["kind"] == "checkpoint" and not e["waited"]]
    at = {e["kind"]: e["at_s"] for e in reversed(events)}
    first = next(e for e in events if e["kind"] == "step")
    exposed_s = max(0.0, step_s - compute_s - drawn_s)
    values = {
        **counted_bytes(job),
        "checkpoint_bytes": float(_checkpoint_bytes(job)),
        "compute_s": compute_s,
        "exposed_data_parallel_s": exposed_s,
        "data_s": drawn_s,
        "step_s": step_s,
        "checkpoint_stall_s": statistics.median(stalls),
        "ready_s": first["at_s"] - first["seconds"] - at["start"],
        "tokens_per_s": job.batch * job.sequence / step_s,
        "goodput": float(next(e["goodput"] for e in events if e["kind"] == "whole")),
        "first_loss": float(first["loss"]),
        "bubble_s": 0.0,
    }
    return Observed(values=values, lean=_lean(values))


def _lean(values: Mapping[str, float]) -> dict[str, dict[str, float]]:
    ledger = Ledger()
    ledger.charge(Axis.TRAINING, busy_s=values["compute_s"])
    ledger.charge(Axis.DATA, busy_s=values["data_s"])
    ledger.charge(Axis.COORDINATION, waiting_s=values["exposed_data_parallel_s"])
    return ledger.lean()


def _typical_s(job: Job) -> float:
    """The median step, without the first few."""
    found = record.steps(job.out / RECORD_FILE)
    return statistics.median(found[n]["seconds"] for n in sorted(found)[_WARM_STEPS:])


def _apart_s(job: Job) -> float:
    """The median step of each rank's share where they compute side by side and never meet."""
    alone = replace(
        job,
        layout=Degrees(),
        batch=job.batch // job.layout.ranks,
        steps=min(job.steps, 12),
        checkpoint_steps=job.steps,
    )
    jobs = [replace(alone, out=job.out.with_name(f"apart-{n}")) for n in range(job.layout.ranks)]
    _launch_all(jobs)
    return statistics.mean(_typical_s(one) for one in jobs)


def _launch_all(jobs: Sequence[Job]) -> None:
    troubles: list[SextantError] = []

    def run(job: Job) -> None:
        try:
            launch(job)
        except SextantError as error:
            troubles.append(error)

    for job in jobs:
        job.write()
    threads = [threading.Thread(target=run, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if troubles:
        raise troubles[0]


def _checkpoint_bytes(job: Job) -> int:
    (newest, *_) = checkpoint.found(job.out)
    return sum(path.stat().st_size for path in newest.iterdir())
