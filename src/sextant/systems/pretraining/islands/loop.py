"""The outer loop inside a training: after every H steps the island's weights meet the others'.

Rank 0 of an island talks; the others hand it their parts of the weights, and are given theirs.
Adam's moments stay where they are. Source: Douillard et al. 2023, arXiv 2311.08105, algorithm 1.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from sextant.decoder.mesh import Meshes
from sextant.decoder.model import Decoder
from sextant.decoder.shards import fill, named_parameters
from sextant.errors import InputError
from sextant.systems.pretraining.islands.quantize import Vector
from sextant.systems.pretraining.islands.sailor import Landed, Sailor
from sextant.systems.pretraining.islands.terms import Terms

TOKEN = "SEXTANT_HARBOUR_TOKEN"
"""In the environment of harbour and islands, where strangers could reach the harbour."""
_BEAT_S = 1.0
_LONGEST_S = 86400.0


class IslandLoop:
    """Exchanges for one island.

    Args:
        terms: of the outer loop.
        identity: of the job.
        parts: this rank's parts of the model.
        meshes: of the island; None for one process.
        stall_s: for how long a harbour that does not answer is tried.
        alive: called while waiting, to say that this rank has not stopped.
        note: told every exchange (on rank 0).
    """

    def __init__(
        self,
        terms: Terms,
        *,
        identity: str,
        parts: Sequence[Decoder],
        meshes: Meshes | None,
        stall_s: float,
        alive: Callable[[], None],
        note: Callable[..., None],
    ) -> None:
        if meshes is not None and meshes.degrees.pp > 1:
            hint = "dp, fsdp, ep and tp do"
            raise InputError("pipelines do not exchange yet", where="--layout", hint=hint)
        (self._part,) = parts
        self._terms, self._alive, self._note = terms, alive, note
        self._group: Any = None
        self._sailor: Sailor | None = None
        if meshes is not None:
            import torch.distributed as dist

            # Others wait here for as long as rank 0 waits for other islands.
            self._group = dist.new_group(backend="gloo", timeout=timedelta(seconds=_LONGEST_S))
        if meshes is None or int(meshes.dense.get_rank()) == 0:
            self._sailor = Sailor(
                terms, identity=identity, token=os.environ.get(TOKEN, ""), stall_s=stall_s
            )

    def join(self) -> int:
        """Takes the shared weights; gives the step to go on with."""
        return self._meet("join", lambda sailor, weights: sailor.join(weights))

    def after(self, done: int, steps: int) -> int:
        """Exchanges where it is time; gives how many steps are now done.

        That is more than it were where the others went on without this island.
        """
        if done % self._terms.inner_steps and done != steps:
            return done
        reached = self._meet("exchange", lambda sailor, weights: sailor.exchange(weights))
        return steps if done == steps else min(reached, steps)

    def close(self) -> None:
        """Ends the link."""
        if self._sailor is not None:
            self._sailor.close()

    def _meet(self, kind: str, talk: Callable[[Sailor, Vector], Landed]) -> int:
        """Gives the step that the round which is now begun begins with."""
        weights = gathered(self._part)
        told: list[Any] = [None]
        with self._beating():
            if self._sailor is not None:
                landed = talk(self._sailor, weights)
                told = [landed.round]
                weights = landed.weights
                self._note(
                    kind,
                    round=landed.round,
                    took_part=landed.took_part,
                    seconds=landed.seconds,
                    sent_bytes=landed.sent_bytes,
                    received_bytes=landed.received_bytes,
                )
            shared = torch.from_numpy(np.array(weights))
            if self._group is not None:
                import torch.distributed as dist

                dist.broadcast_object_list(told, src=0, group=self._group)
                dist.broadcast(shared, src=0, group=self._group)
        spread(self._part, shared)
        return int(told[0]) * self._terms.inner_steps

    @contextmanager
    def _beating(self) -> Iterator[None]:
        """Says that this rank lives while it waits for other islands."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(_BEAT_S):
                self._alive()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@torch.no_grad()
def gathered(part: Decoder) -> Vector:
    """All weights in one vector, the same on every rank; every rank calls it."""
    whole = []
    for _, parameter in named_parameters(part):
        full = parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter
        whole.append(full.detach().float().cpu().reshape(-1))
    return cast("Vector", torch.cat(whole).numpy())


def spread(part: Decoder, weights: Tensor) -> None:
    """Puts each rank's part of `gathered` weights back."""
    at: dict[str, int] = {}
    end = 0
    for name, parameter in named_parameters(part):
        at[name] = end
        end += math.prod(parameter.shape)

    def part_of(name: str, shape: torch.Size, slices: tuple[slice, ...]) -> Tensor:
        whole = weights[at[name] : at[name] + math.prod(shape)].view(shape)
        return whole[slices]

    fill(part, part_of)
