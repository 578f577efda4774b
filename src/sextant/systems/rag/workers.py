"""Embedding by a gang: blocks go to whichever worker is free, and to another if one dies.

N workers give the vectors of one, to the bit, on processors of one kind: a block is divided into
the same batches wherever it is embedded, and a batch is computed by one thread.
"""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgpack
import numpy as np

from sextant.errors import EngineError, InputError
from sextant.fleet import Deadline, Fleet, Gang, MemberSpec
from sextant.systems.rag.embed import Embedder, Floats
from sextant.systems.rag.model import DEFAULT_MODEL

_ROLE = "embed"
_READY_S = 180.0
_BLOCK_S = 600.0
_BETWEEN_TRIES_S = 0.2
_MOST_TRIES = 50


class Workers:
    """An `Encoder` whose work is done by the members of a gang."""

    def __init__(self, gang: Gang, dims: int) -> None:
        self.gang = gang
        self._dims = dims
        self._free: queue.SimpleQueue[str] = queue.SimpleQueue()
        for name in gang.names:
            self._free.put(name)

    @property
    def num_at_once(self) -> int:
        """A block each."""
        return len(self.gang.names)

    def encode(self, texts: Sequence[str]) -> Floats:
        """The vectors of a block, from the first worker that is free and lives to make them.

        Raises:
            EngineError: no worker makes them.
        """
        body = bytes(msgpack.packb(list(texts)))
        why = "no worker was free"
        for _ in range(_MOST_TRIES):
            name = self._free.get(timeout=_BLOCK_S)
            gather = self.gang.ask({name: body}, Deadline.after(_BLOCK_S))
            # At the end of the line: the next try goes to another, if there is one.
            self._free.put(name)
            if name in gather.answers:
                vectors_ND = np.frombuffer(gather.answers[name].body, dtype="<f4")
                return vectors_ND.reshape(len(texts), self._dims)
            why = "; ".join(str(one) for one in gather.missing)
            time.sleep(_BETWEEN_TRIES_S)
        raise EngineError(f"no worker embeds a block: {why}")


@contextmanager
def hire(fleet: Fleet, embedder: Embedder, num_workers: int | None = None) -> Iterator[Workers]:
    """Workers on a fleet, with the embedder's model, as long as the block lasts.

    Args:
        fleet: a started fleet.
        embedder: the model; it need not have read its weights.
        num_workers: by default as many as this process has cores.

    Raises:
        InputError: not even one worker is wanted.
        BarrierError: no worker starts.
    """
    cores = len(os.sched_getaffinity(0))
    num = cores if num_workers is None else num_workers
    if num < 1:
        raise InputError(f"{num} workers", where="--workers", hint="at least 1")
    folder = embedder.folder
    arguments = {
        "model": None if folder.name == DEFAULT_MODEL else str(folder.path.resolve()),
        "space": folder.fingerprint,
        "number_format": embedder.number_format,
        "num_threads": max(1, cores // num),
        "num_shares": cores,
    }
    gang = fleet.gang(
        _ROLE,
        [
            MemberSpec(
                name=f"{_ROLE}/{number}",
                factory="sextant.systems.rag.worker:EmbedMember",
                arguments=arguments,
                # A library that splits its sums by threads must split them as it does here.
                env={"OMP_NUM_THREADS": str(cores)},
            )
            for number in range(num)
        ],
    )
    try:
        gang.ready(_READY_S)
        yield Workers(gang, embedder.dims)
    finally:
        gang.close()
