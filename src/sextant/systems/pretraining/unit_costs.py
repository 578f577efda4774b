"""Unit costs of a job's step, measured by as many processes as it has ranks; some seconds."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace

from sextant.decoder.pipeline import stage_parts
from sextant.errors import EngineError
from sextant.plan.training_step import StepCosts, StepShape
from sextant.systems.pretraining.job import Job
from sextant.systems.pretraining.kernels import TOLD, Order, data_s
from sextant.systems.pretraining.sampler import training_sampler
from sextant.systems.pretraining.tokens import Tokens

_IMPORTS = "import torch, torch.distributed.checkpoint, torch.distributed.fsdp"
_LONGEST_S = 120.0


def step_shape(job: Job, cores: int) -> StepShape:
    """The job's step as its law sees it."""
    layout = job.layout
    stages = stage_parts(job.model, layout.pp * layout.interleave)
    each = job.batch // layout.data
    return StepShape(
        stage_layers=tuple(len(part.layers) for part in stages),
        tp=layout.tp,
        data=layout.data,
        micro_batches=each // job.micro_batch,
        sequences=each,
        threads=_threads(job, cores),
        cores=cores,
    )


def _threads(job: Job, cores: int) -> int:
    return job.threads or max(1, cores // job.layout.ranks)


def measured_costs(job: Job, cores: int) -> StepCosts:
    """Measures every unit cost of the job's step.

    Stages that would share cores are stood for by one of them: `step_seconds` adds up the rest.

    Raises:
        EngineError: processes cannot meet on this machine.
    """
    layout = job.layout
    if layout.ranks > cores:
        layout = replace(layout, pp=1, interleave=1)
    order = Order(
        config=job.model,
        degrees=layout,
        pipelined=job.layout.pp > 1,
        sequence=job.sequence,
        micro_batch=job.micro_batch,
        threads=_threads(job, cores),
    )
    told = _ranks(json.dumps(asdict(order)), layout.ranks)
    sampler = training_sampler(Tokens.open(job.data), sequence=job.sequence, seed=job.seed)
    found = {name: statistics.mean(one[name] for one in told) for name in told[0]}
    return StepCosts(ranks=layout.ranks, sample_s=data_s(sampler, 1), **found)


def start_s() -> float:
    """A process that imports what a rank does."""
    begun_s = time.perf_counter()
    subprocess.run([sys.executable, "-c", _IMPORTS], check=False, timeout=_LONGEST_S)
    return time.perf_counter() - begun_s


def _ranks(order: str, ranks: int) -> Sequence[dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "sextant.systems.pretraining.kernels", order]
        loopback = "lo" if sys.platform.startswith("linux") else "lo0"
        running = [
            subprocess.Popen(
                [*words, f"{folder}/meet"],
                env={**os.environ, "RANK": str(rank), "GLOO_SOCKET_IFNAME": loopback},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(ranks)
        ]
        try:
            told = [one.communicate(timeout=_LONGEST_S) for one in running]
        except subprocess.TimeoutExpired:
            raise EngineError("ranks do not meet on this machine") from None
        finally:
            for one in running:
                one.kill()
                one.wait(_LONGEST_S)
    for said, why in told:
        if TOLD not in said:
            raise EngineError(f"a unit cost could not be measured: {why.strip()[-300:]}")
    return [json.loads(said.split(TOLD, 1)[1]) for said, _ in told]
