"""Opens a language model: in this process, or spread over a gang of ranks on a fleet."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sextant.decoder.generator import Generator
from sextant.errors import InputError, missing_engine

if TYPE_CHECKING:
    from sextant.decoder.model import Decoder
    from sextant.decoder.scheduler import Desk
    from sextant.fleet import Fleet, Gang, MemberSpec

_CONTEXT = 4096
_STALL_S = 20.0
_DTYPES = ("auto", "float32", "bfloat16")


def open_generator(
    folder: Path,
    *,
    fleet: Fleet | None = None,
    ranks: int = 1,
    max_concurrent: int = 8,
    context: int | None = None,
    dtype: str = "auto",
    role: str = "answerer",
    threads: int | None = None,
    stall_s: float = _STALL_S,
    ready_within_s: float = 120.0,
) -> Generator:
    """Opens a Hugging Face causal model (Llama or Mixtral layout, safetensors, tokenizer.json).

    Args:
        folder: with `config.json`, `*.safetensors` and `tokenizer.json`; on a fleet of several
            hosts it lies at the same path on each.
        fleet: where its ranks run, one process each; None is this process.
        ranks: over how many the model is split by tensor parallelism; must divide its heads.
        max_concurrent: prompts decoded together; more wait their turn.
        context: tokens a prompt and its answer may take; the model's own limit by default, or
            4096 if that is less.
        dtype: `float32`, `bfloat16`, or `auto`, which is what the folder's weights are in
            (float32 if that is neither).
        role: what the gang is called on the fleet; its ranks are `role/0`, `role/1`...
        threads: of one rank; by default the cores of this machine, shared out.
        stall_s: the longest that ranks wait for one another before a request fails.
        ready_within_s: how long to wait for the ranks of a fleet.

    Raises:
        InputError: the folder holds no such model, or it does not divide by `ranks`, or several
            ranks are asked for without a fleet.
        EngineError: an engine is missing, or the ranks did not come up in time.
    """
    from sextant.decoder.hugging_face import ending_tokens, read_config
    from sextant.decoder.text import Text

    _check(folder, fleet, ranks, max_concurrent, context, dtype)
    config = read_config(folder)
    limit = min(context or _CONTEXT, config.context)
    text, endings = Text(folder), ending_tokens(folder)
    if text.vocab > config.vocab:
        what = f"its tokenizer has {text.vocab} tokens, the model {config.vocab}"
        raise InputError(what, where=str(folder))
    try:
        from sextant.decoder.scheduler import ScheduledGenerator
        from sextant.decoder.tensor_parallel import check_ranks
    except ModuleNotFoundError as error:
        raise missing_engine(error.name or "torch", "rag") from None
    check_ranks(config, ranks)
    desk: Desk
    if fleet is None:
        desk = _local_desk(folder, max_concurrent, limit, dtype)
    else:
        arguments = {"rows": max_concurrent, "context": limit, "dtype": dtype, "stall_s": stall_s}
        gang = fleet.gang(role, _ranks(folder, role, ranks, threads, arguments))
        desk = _gang_desk(gang, max_concurrent, ready_within_s)
    return ScheduledGenerator(desk, text, context=limit, endings=endings)


def _local_desk(folder: Path, rows: int, context: int, dtype: str) -> Desk:
    from sextant.decoder.desks import LocalDesk
    from sextant.decoder.generate import Batch

    return LocalDesk(Batch(read_model(folder, context=context, dtype=dtype), rows), rows)


def _gang_desk(gang: Gang, rows: int, ready_within_s: float) -> Desk:
    from sextant.decoder.desks import GangDesk

    try:
        gang.ready(ready_within_s)
    except BaseException:
        gang.close()
        raise
    return GangDesk(gang, rows)


def _ranks(
    folder: Path, role: str, ranks: int, threads: int | None, arguments: Mapping[str, Any]
) -> list[MemberSpec]:
    """How the fleet starts each rank."""
    from sextant.fleet import MemberSpec

    share = threads or max(1, (os.cpu_count() or 1) // ranks)
    common = {
        **arguments,
        "folder": str(folder.resolve()),
        "ranks": ranks,
        "threads": share,
    }
    return [
        MemberSpec(
            name=f"{role}/{rank}",
            factory="sextant.decoder.rank:RankMember",
            arguments={**common, "rank": rank},
            env={"OMP_NUM_THREADS": str(share), "MKL_NUM_THREADS": str(share)},
        )
        for rank in range(ranks)
    ]


def _check(
    folder: Path,
    fleet: Fleet | None,
    ranks: int,
    max_concurrent: int,
    context: int | None,
    dtype: str,
) -> None:
    if not folder.is_dir():
        raise InputError("no such folder", where=str(folder))
    if ranks < 1 or (ranks > 1 and fleet is None):
        raise InputError(f"{ranks} ranks", where="ranks", hint="1, or more of them on a fleet")
    if max_concurrent < 1:
        raise InputError(f"at least 1, not {max_concurrent}", where="max_concurrent")
    if context is not None and context < 2:
        raise InputError(f"at least 2 tokens, not {context}", where="context")
    if dtype not in _DTYPES:
        raise InputError(f"one of {', '.join(_DTYPES)}, not {dtype!r}", where="dtype")


def read_model(folder: Path, *, context: int, dtype: str, rank: int = 0, ranks: int = 1) -> Decoder:
    """One rank's part of the model in a folder; only that part is read.

    Raises:
        InputError: the folder holds no such model.
    """
    import torch

    from sextant.decoder.hugging_face import Weights, read_config
    from sextant.decoder.tensor_parallel import rank_model

    config = read_config(folder)
    weights = Weights(folder, config)
    if dtype == "auto":
        dtype = weights.dtype if weights.dtype in _DTYPES else "float32"
    config = replace(config, context=min(context, config.context))
    return rank_model(config, rank, ranks, weights.part, getattr(torch, dtype))
