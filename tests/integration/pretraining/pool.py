"""Eight processes that live through many layouts, since each costs seconds to start."""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import sys
import traceback
import warnings
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).parent
# Imported once and forked: each import of torch costs seconds.
PRELOADED = [
    "sextant.systems.pretraining.trainer",
    "torch.distributed.checkpoint",
    "torch.distributed.fsdp",
    "torch.distributed.pipelining",
    "torch.distributed.tensor.parallel",
    "torch.utils.checkpoint",
]
ANSWER_S = 120.0


class Pool:
    """Processes that call a function as the ranks of a job."""

    def __init__(self, size: int, folder: Path) -> None:
        self._folder, self._jobs = folder, 0
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self._pipes: list[Connection] = []
        self._workers = []
        for rank in range(size):
            ours, theirs = context.Pipe()
            worker = context.Process(target=_serve, args=(rank, theirs), daemon=True)
            worker.start()
            self._pipes.append(ours)
            self._workers.append(worker)

    def call(self, function: str, ranks: int, *args: Any) -> list[Any]:
        """What `module:name` of this folder gives on each of so many ranks."""
        self._jobs += 1
        used = self._pipes[:ranks]
        for pipe in used:
            pipe.send((function, args, ranks, str(self._folder / f"store-{self._jobs}")))
        told = []
        for pipe in used:
            assert pipe.poll(ANSWER_S), f"no answer within {ANSWER_S} s: {function} {args}"
            told.append(pipe.recv())
        for kind, value in told:
            if kind == "error":
                raise value
        return [value for _, value in told]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self._pipes:
            pipe.send(None)
        for worker in self._workers:
            worker.join(5)
            worker.kill()


def _serve(rank: int, orders: Connection) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name in ("torch.distributed", "torch.distributed.tensor"):
        logging.getLogger(name).setLevel(logging.ERROR)
    sys.path.insert(0, str(HERE))
    while (order := orders.recv()) is not None:
        function, args, ranks, store = order
        module, _, name = function.partition(":")
        try:
            if ranks > 1:
                dist.init_process_group(
                    "gloo",
                    store=dist.FileStore(store, ranks),
                    rank=rank,
                    world_size=ranks,
                    timeout=timedelta(seconds=60),
                )
            value = getattr(importlib.import_module(module), name)(*args)
            orders.send(("value", value))
        except Exception as error:  # noqa: BLE001  told to the test, which fails with it
            error.add_note("".join(traceback.format_exception(error)))
            orders.send(("error", error))
        finally:
            if dist.is_initialized():
                dist.destroy_process_group()
