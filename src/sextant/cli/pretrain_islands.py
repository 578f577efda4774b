"""What `sextant pretrain train` takes for islands that train apart, and for elasticity."""

from __future__ import annotations

import argparse
import os
import time
from typing import TYPE_CHECKING

from sextant.errors import InputError

if TYPE_CHECKING:
    from sextant.systems.pretraining.islands.terms import Terms
    from sextant.systems.pretraining.job import Job

_LOOK_S = 0.2


def add_islands(parser: argparse.ArgumentParser) -> None:
    """Adds what islands that train apart (DiLoCo) agree on, and elasticity."""
    parser.add_argument(
        "--elastic",
        type=int,
        metavar="LEAST",
        help="without a lost rank, go on with at least LEAST; grow again later",
    )
    parser.add_argument(
        "--islands", type=int, metavar="N", help="train on N islands that exchange rarely (DiLoCo)"
    )
    parser.add_argument("--inner-steps", type=int, metavar="H", help="between (50)")
    parser.add_argument(
        "--quantize", type=int, metavar="BITS", help="of what is exchanged: 4, 8, 32 (8)"
    )
    parser.add_argument(
        "--outer-rate", type=float, metavar="X", help="of the outer optimizer (0.7)"
    )
    parser.add_argument(
        "--outer-momentum", type=float, metavar="X", help="less for few rounds (0.9)"
    )
    parser.add_argument(
        "--overlap", type=int, metavar="STEPS", help="go on while an exchange is under way (0)"
    )
    parser.add_argument("--harbour", metavar="HOST:PORT", help="where islands of many sites meet")
    parser.add_argument(
        "--listen", metavar="HOST:PORT", help="be that meeting place, and train nothing"
    )
    parser.add_argument("--island", type=int, metavar="K", help="with --harbour: be island K")


def terms_of(args: argparse.Namespace) -> Terms | None:
    """The outer loop that the flags ask for; None without islands.

    Raises:
        InputError: they do not go together.
    """
    from sextant.systems.pretraining.islands.terms import Terms

    if (args.harbour is None) != (args.island is None) or (args.harbour and not args.islands):
        hint = "--islands N --harbour HOST:PORT --island K; or --islands N alone, on this computer"
        raise InputError("these go together", where="--harbour", hint=hint)
    if args.islands is None:
        if args.overlap:
            hint = "--islands N with it"
            raise InputError("only islands exchange", where="--overlap", hint=hint)
        return None
    terms = Terms(
        islands=args.islands,
        inner_steps=args.inner_steps,
        bits=args.quantize,
        learning_rate=args.outer_rate,
        momentum=args.outer_momentum,
        overlap_steps=args.overlap,
        harbour=args.harbour or "",
        island=args.island or 0,
    )
    if terms.harbour:
        terms.place()
    return terms


def harbour_place(job: Job, listen: str) -> tuple[str, int]:
    """Where a harbour for this job may listen.

    Raises:
        InputError: the address is none, or open to strangers, or the job has no islands.
    """
    from sextant.fleet.address import is_loopback
    from sextant.systems.pretraining.islands.loop import TOKEN
    from sextant.systems.pretraining.islands.terms import place_of

    if job.outer is None:
        raise InputError("how many islands meet here?", where="--listen", hint="--islands N")
    place = place_of(listen, "--listen")
    if not os.environ.get(TOKEN) and not is_loopback(place[0]):
        what = "whoever can reach it could change what all islands learn"
        raise InputError(what, where=f"--listen {listen}", hint=f"set {TOKEN} here and there")
    return place


def serve(job: Job, listen: str) -> int:
    """Is the harbour of a job's islands until their last exchange, or Ctrl-C.

    Raises:
        InputError: as `harbour_place` does.
    """
    from sextant.systems.pretraining.islands.serve import open_harbour

    place = harbour_place(job, listen)
    assert job.outer is not None
    rounds = -(-job.steps // job.outer.inner_steps)
    harbour = open_harbour(job, place)
    try:
        print(
            f"harbour at {harbour.place[0]}:{harbour.place[1]}, round {harbour.round}", flush=True
        )
        while harbour.round < rounds or harbour.guests:
            time.sleep(_LOOK_S)
    finally:
        harbour.close()
    print(f"{harbour.round} rounds: {job.out}")
    return 0
