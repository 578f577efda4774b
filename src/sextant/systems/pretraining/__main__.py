"""One rank of a training: `python -m sextant.systems.pretraining OUT/job.json`, or under torchrun.

Alone it is the whole job. Under `torchrun --nproc-per-node N -m sextant.systems.pretraining FILE`,
or started by `sextant pretrain train`, it is one of the ranks that the environment names.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import NoReturn

from sextant.decoder.meeting import is_of_a_link
from sextant.errors import EngineError, SextantError
from sextant.systems.pretraining.checkpoint import FlawedError
from sextant.systems.pretraining.job import RECORD_FILE, Job
from sextant.systems.pretraining.ranks import FLAWED, MEET, PARTED, YIELDED, run_rank

LOGS = "logs"


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
    told: SextantError
    why: Exception
    try:
        ended = run_rank(job, rank, int(os.environ.get("WORLD_SIZE", "1")))
    except SextantError as error:
        told, why = error, error
    except (RuntimeError, OSError) as error:
        # What torch raises when another rank is gone, or the disk is full.
        lines = str(error).strip().splitlines() or [type(error).__name__]
        told, why = EngineError(f"rank {rank}: {lines[0][:300]}"), error
    else:
        if ended and rank == 0 and MEET not in os.environ:
            print(f"{job.steps} steps: {job.out / RECORD_FILE}")
        return 0 if ended else YIELDED
    code = _tell(told, job.out, rank)
    if isinstance(told, FlawedError):
        return FLAWED
    return PARTED if code == EngineError.exit_code and is_of_a_link(why) else code


def _tell(error: SextantError, out: Path | None, rank: int) -> int:
    where = f"{error.where}: " if error.where else ""
    print(f"error: {where}{error.what}", file=sys.stderr)
    if out is not None:
        told = {"what": error.what, "where": error.where, "hint": error.hint}
        path = out / LOGS / f"rank-{rank}.error"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**told, "exit_code": error.exit_code}), encoding="utf-8")
    return error.exit_code


def _end(code: int) -> NoReturn:
    """Ends this process now.

    A checkpoint may still be written by a thread, and one that is in torch while the interpreter
    winds up aborts the process: whoever started it would blame a signal, not what was told.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _end(main())
