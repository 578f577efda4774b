"""The outer loop inside a training: after every H steps the island's weights meet the others'.

Rank 0 of an island talks; the others hand it their parts of the weights, and are given theirs.
Adam's moments stay where they are. Source: Douillard et al. 2023, arXiv 2311.08105, algorithm 1.

With `overlap_steps` an island goes on while its exchange is on its way. So many steps after it was
sent, neither sooner nor later, the island begins from the shared weights anew, and what it learned
since it sent is added: that counts for the next round, so no step is lost or counted twice.
Source: Shen et al. 2019, arXiv 1906.12043, algorithm 1 (CoCoD-SGD); Douillard et al. 2025,
arXiv 2501.18512, section 2.3, where the two are mixed instead.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from sextant.decoder.mesh import Meshes
from sextant.decoder.model import Decoder
from sextant.decoder.shards import fill, named_parameters
from sextant.errors import InputError
from sextant.systems.pretraining.aside import aside
from sextant.systems.pretraining.islands.quantize import Vector
from sextant.systems.pretraining.islands.sailor import Landed, Sailor
from sextant.systems.pretraining.islands.terms import Terms

TOKEN = "SEXTANT_HARBOUR_TOKEN"
"""In the environment of harbour and islands, where strangers could reach the harbour."""
_BEAT_S = 1.0
_LONGEST_S = 86400.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Flight:
    """An exchange that is on its way.

    Attributes:
        kind: `join` or `exchange`.
        step: after which it was sent.
        sent: the island's weights then.
        answer: what rank 0 hears; None on the others.
        stood_s: for how long training stood still to send it.
    """

    kind: str
    step: int
    sent: Vector
    answer: Future[Landed] | None
    stood_s: float


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
        self._flight: _Flight | None = None
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
        return self._land(self._depart("join", 0), 0)

    def after(self, done: int, steps: int) -> int:
        """Exchanges where it is time; gives how many steps are now done.

        That is more than it were where the others went on without this island, and less where
        they did so while it overlapped: what it took since is lost, and its data comes again.
        """
        last, overlap = done == steps, self._terms.overlap_steps
        flight, self._flight = self._flight, None
        if flight is not None:
            if not last and done - flight.step < overlap:
                self._flight = flight
                return done
            reached = self._land(flight, done)
            if reached != flight.step:
                return min(reached, steps)
        if done % self._terms.inner_steps and not last:
            return done
        flight = self._depart("exchange", done)
        if overlap and not last:
            self._flight = flight
            return done
        reached = self._land(flight, done)
        return steps if last else min(reached, steps)

    def close(self) -> None:
        """Ends the link."""
        if self._sailor is not None:
            self._sailor.close()

    def _depart(self, kind: str, step: int) -> _Flight:
        """Sends the weights; every rank keeps what was sent."""
        begun_s = time.perf_counter()
        sent, answer = gathered(self._part), None
        if self._sailor is not None:
            talk = self._sailor.join if kind == "join" else self._sailor.exchange
            answer = aside(partial(talk, sent))
        stood_s = time.perf_counter() - begun_s
        return _Flight(kind=kind, step=step, sent=sent, answer=answer, stood_s=stood_s)

    def _land(self, flight: _Flight, done: int) -> int:
        """Waits for the shared weights and goes on from them, with what was learned since.

        Returns:
            The step that the round which is now begun begins with.
        """
        begun_s = time.perf_counter()
        weights, told = flight.sent, list[Any]([None])
        with self._beating():
            landed = flight.answer.result() if flight.answer is not None else None
            if landed is not None:
                weights, told = landed.weights, [(landed.round, landed.took_part)]
            shared = torch.from_numpy(np.array(weights))
            if self._group is not None:
                import torch.distributed as dist

                dist.broadcast_object_list(told, src=0, group=self._group)
                dist.broadcast(shared, src=0, group=self._group)
        ((number, took_part),) = told
        if took_part and done != flight.step:
            shared += torch.from_numpy(gathered(self._part) - flight.sent)
        spread(self._part, shared)
        if landed is not None:
            self._note(
                flight.kind,
                round=number,
                took_part=took_part,
                seconds=landed.seconds,
                stood_s=flight.stood_s + time.perf_counter() - begun_s,
                sent_bytes=landed.sent_bytes,
                received_bytes=landed.received_bytes,
            )
        return number * self._terms.inner_steps

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
