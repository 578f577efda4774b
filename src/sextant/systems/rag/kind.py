"""Which kind of index a corpus gets, and how many shards: what the caller says, else the plan."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import psutil

from sextant.facts import load_facts
from sextant.plan.index_choice import IndexDemand, choose_index
from sextant.search.manifest import WANTED_RECALL


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A kind of index and its shards.

    Attributes:
        faiss_key: the Faiss factory key.
        shards: over so many the documents are spread.
        replicas: of each shard, that the plan has for the queries that may come.
        raw_mapped: whether raw vectors that refine codes are mapped.
        because: why the plan chose it, a sentence each; empty where the caller chose all of it.
    """

    faiss_key: str
    shards: int
    replicas: int = 1
    raw_mapped: bool = True
    because: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """What the index remembers of the choice."""
        return {"replicas": self.replicas, "because": list(self.because)}


def settled(
    vectors: int,
    dims: int,
    *,
    faiss_key: str | None,
    shards: int | None,
    memory_bytes: float | None = None,
    cores: int | None = None,
) -> Kind:
    """The kind for so many vectors; what is None is for the plan to say.

    A key without a number of shards gets one shard. The machine's memory and cores are those of
    this one unless they are given.
    """
    if faiss_key is not None:
        return Kind(faiss_key=faiss_key, shards=shards or 1)
    demand = IndexDemand(
        vectors=vectors,
        dims=dims,
        recall=WANTED_RECALL,
        memory_bytes=psutil.virtual_memory().total if memory_bytes is None else memory_bytes,
        cores=len(os.sched_getaffinity(0)) if cores is None else cores,
    )
    choice = choose_index(demand, load_facts())
    return Kind(
        faiss_key=choice.key,
        shards=shards or choice.shards,
        replicas=choice.replicas,
        raw_mapped=choice.chosen.raw_mapped,
        because=choice.because,
    )
