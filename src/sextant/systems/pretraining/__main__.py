"""One rank of a training: `python -m sextant.systems.pretraining OUT/job.json`, or under torchrun.

Alone it is the whole job. Under `torchrun --nproc-per-node N -m sextant.systems.pretraining FILE`,
or started by `sextant pretrain train`, it is one of the ranks that the environment names.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from pathlib import Path

from sextant.errors import EngineError, InputError, SextantError, missing_engine
from sextant.systems.pretraining.job import Job

MEET = "SEXTANT_MEET"
"""A file at which the ranks of one host meet; without it they meet as torchrun says."""
ALIVE, LOGS = "alive", "logs"


def main() -> int:
    """Runs this rank; an error goes to stderr, and to a file for whoever started it."""
    if len(sys.argv) != 2:
        print("error: one argument: OUT/job.json", file=sys.stderr)
        return 2
    rank = int(os.environ.get("RANK", "0"))
    try:
        job = Job.read(Path(sys.argv[1]))
    except SextantError as error:
        return _tell(error, None, rank)
    try:
        run_rank(job, rank, int(os.environ.get("WORLD_SIZE", "1")))
    except SextantError as error:
        return _tell(error, job.out, rank)
    except (RuntimeError, OSError) as error:
        # What torch raises when another rank is gone, or the disk is full.
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return _tell(EngineError(f"rank {rank}: {lines[0][:300]}"), job.out, rank)
    return 0


def run_rank(job: Job, rank: int, ranks: int) -> None:
    """Trains a job as one of its ranks.

    Raises:
        InputError: the job has another number of ranks, or does not fit its data.
        EngineError: torch is missing or failed.
    """
    if ranks != job.layout.ranks:
        what = f"the layout {job.layout.describe()} takes {job.layout.ranks} ranks, not {ranks}"
        raise InputError(what, where="--layout")
    try:
        import torch
        import torch.distributed as dist
    except ImportError:
        raise missing_engine("torch", "pretraining") from None
    from sextant.decoder.mesh import make_meshes
    from sextant.systems.pretraining.tokens import Tokens
    from sextant.systems.pretraining.trainer import Trainer

    local = int(os.environ.get("LOCAL_WORLD_SIZE", ranks))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", rank)))
        torch.cuda.set_device(device)
    torch.set_num_threads(job.threads or max(1, (os.cpu_count() or 1) // local))
    # One rank on a host compares every shard with its checksum; the others trust it.
    tokens = Tokens.open(job.data, verify=rank == 0)
    beat = job.out / ALIVE / f"rank-{rank}"
    beat.parent.mkdir(parents=True, exist_ok=True)
    meshes = None
    if ranks > 1:
        meet = os.environ.get(MEET)
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            init_method=f"file://{meet}" if meet else "env://",
            rank=rank,
            world_size=ranks,
            timeout=timedelta(seconds=job.stall_s),
        )
        meshes = make_meshes(job.layout, device.type)
    try:
        Trainer(job, tokens, meshes, device, beat.touch).run()
    finally:
        if meshes is not None:
            dist.destroy_process_group()


def _tell(error: SextantError, out: Path | None, rank: int) -> int:
    where = f"{error.where}: " if error.where else ""
    print(f"error: {where}{error.what}", file=sys.stderr)
    if out is not None:
        told = {"what": error.what, "where": error.where, "hint": error.hint}
        path = out / LOGS / f"rank-{rank}.error"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**told, "exit_code": error.exit_code}), encoding="utf-8")
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
