"""One rank of a job in this process: its device, its group, its training."""

from __future__ import annotations

import os
import warnings
from datetime import timedelta

from sextant.errors import InputError, missing_engine
from sextant.systems.pretraining.job import Job

MEET = "SEXTANT_MEET"
"""A file at which the ranks of one host meet; without it they meet as torchrun says."""
ALIVE = "alive"
DONE = ".done"
"""Beside its sign of life, once a rank has only to end."""
YIELD_FILE = "yield"
"""While it is in the run's folder, the ranks end at their next checkpoint."""
YIELDED = 75
"""Exit code of ranks that did."""
PARTED = 76
"""Exit code of ranks that failed for want of another."""
FLAWED = 77
"""Exit code of ranks whose weights or gradients are not finite."""


def run_rank(job: Job, rank: int, ranks: int) -> bool:
    """Trains a job as one of its ranks, which meet as the environment says.

    Returns:
        Whether it came to its last step; False if it was asked to end at a checkpoint.

    Raises:
        InputError: the job has another number of ranks, or does not fit its data.
        EngineError: torch is missing, or the training cannot go on.
    """
    if ranks != job.layout.ranks:
        what = f"the layout {job.layout.describe()} takes {job.layout.ranks} ranks, not {ranks}"
        raise InputError(what, where="--layout")
    try:
        import torch
        import torch.distributed as dist
    except ImportError:
        raise missing_engine("torch", "pretraining") from None
    if ranks > 1:
        meet = os.environ.get(MEET)
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
            init_method=f"file://{meet}" if meet else "env://",
            rank=rank,
            world_size=ranks,
            timeout=timedelta(seconds=job.stall_s),
        )
    try:
        ended = train_rank(job, rank, int(os.environ.get("LOCAL_RANK", rank)))
        (job.out / ALIVE / f"rank-{rank}{DONE}").touch()
        return ended
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def train_rank(job: Job, rank: int, local_rank: int) -> bool:
    """The same, once the ranks have met.

    Raises:
        InputError: the job does not fit its data.
        EngineError: the training cannot go on.
    """
    import torch

    from sextant.decoder.mesh import make_meshes
    from sextant.systems.pretraining.pace import Beat
    from sextant.systems.pretraining.tokens import Tokens
    from sextant.systems.pretraining.trainer import Trainer

    # A stage returns a view of its last product; nothing here changes one in place.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module")
    ranks = job.layout.ranks
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    local = int(os.environ.get("LOCAL_WORLD_SIZE", ranks))
    torch.set_num_threads(job.threads or max(1, (os.cpu_count() or 1) // local))
    # One rank compares every shard with its checksum; the others trust it.
    tokens = Tokens.open(job.data, verify=rank == 0)
    beat = Beat(job.out / ALIVE / f"rank-{rank}", job.pace_s)
    meshes = make_meshes(job.layout, device.type) if ranks > 1 else None
    wanted = (job.out / YIELD_FILE).exists
    return Trainer(job, tokens, meshes, device, beat, wanted).run()
