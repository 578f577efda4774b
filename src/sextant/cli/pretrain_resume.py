"""What a flag of `sextant pretrain train` means for a new run, and for one that goes on.

A flag that is not given is None. So what was asked for on `--resume` is known, and what cannot
change is refused instead of passed over.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sextant.errors import InputError

if TYPE_CHECKING:
    from sextant.systems.pretraining.job import Job

_NEW: dict[str, Any] = {
    "batch": 32,
    "learning_rate": 1e-3,
    "warmup": 100,
    "dtype": "float32",
    "recompute": "none",
    "compile": False,
    "seed": 0,
    "checkpoint_steps": 100,
    "keep": 2,
    "eval_steps": 100,
    "stall": 60.0,
    "inner_steps": 50,
    "quantize": 8,
    "outer_rate": 0.7,
    "outer_momentum": 0.9,
    "overlap": 0,
}
"""What a new run takes where nothing is said."""

_DECIDED = {
    "data": "--data",
    "text": "--text",
    "model": "--model",
    "imported": "--import",
    "batch": "--batch",
    "sequence": "--sequence",
    "learning_rate": "--learning-rate",
    "warmup": "--warmup",
    "dtype": "--dtype",
    "seed": "--seed",
    "islands": "--islands",
    "inner_steps": "--inner-steps",
    "quantize": "--quantize",
    "outer_rate": "--outer-rate",
    "outer_momentum": "--outer-momentum",
    "overlap": "--overlap",
    "island": "--island",
}
"""What decides the weights of a run, so that it cannot change on the way."""

_MAY_CHANGE = {
    "steps": "steps",
    "micro_batch": "micro_batch",
    "recompute": "recompute",
    "compile": "compile",
    "checkpoint_steps": "checkpoint_steps",
    "keep": "keep",
    "eval_steps": "eval_steps",
    "stall": "stall_s",
}
"""Flags that a run which goes on takes anew, and what they are called in a job."""


def with_defaults(args: argparse.Namespace) -> argparse.Namespace:
    """The flags of a new run."""
    given = {name: value for name, value in vars(args).items() if value is not None}
    return argparse.Namespace(**{**vars(args), **_NEW, **given})


def check_resumed(args: argparse.Namespace) -> None:
    """Refuses flags that a run cannot take when it goes on.

    Raises:
        InputError: there are some; all of them are named.
    """
    flags = [flag for name, flag in _DECIDED.items() if getattr(args, name) is not None]
    if flags:
        hint = "leave it away: a run goes on with what it began with"
        raise InputError("cannot change when resuming", where=", ".join(flags), hint=hint)


def changed(job: Job, args: argparse.Namespace) -> Job:
    """The job that goes on, with what was asked for (but its layout).

    Raises:
        InputError: a harbour is named, and the run has none, or it is no address.
    """
    asked = {
        field: getattr(args, name)
        for name, field in _MAY_CHANGE.items()
        if getattr(args, name) is not None
    }
    if args.harbour is not None:
        if job.outer is None or not job.outer.harbour:
            hint = "it was begun without --harbour"
            raise InputError("this run meets at none", where="--harbour", hint=hint)
        outer = replace(job.outer, harbour=args.harbour)
        outer.place()
        asked["outer"] = outer
    return replace(job, **asked)
