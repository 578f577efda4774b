"""Ten million vectors in little memory: what the shards keep, what was planned, and the recall.

What a shard keeps is its process's proportional set size less that of one of next to nothing: a
thousand vectors in an index of the same kind, which was asked the same (its engines have their
buffers by then, such as OpenBLAS's 8 MiB).
"""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil

from benchmarks.bench import Figure
from benchmarks.clustered import DataSet, workplace
from sextant.facts import load_facts
from sextant.fleet import Deadline, Fleet, Gang
from sextant.plan.index_choice import IndexDemand, choose_index
from sextant.search.manifest import MANIFEST, Manifest
from sextant.search.nearest import Nearest
from sextant.search.rows import Row
from sextant.search.service import open_on_fleet
from sextant.search.wire import Floats, Ordinals
from sextant.search.writer import IndexWriter

_NUM, _DIMS, _K, _RECALL = 10_000_000, 96, 10, 0.9
_TRUTHS, _BATCH, _BLOCK = 1_000, 32, 50_000
_MOST_BYTES, _NEAR = 1.5e9, 0.02
_READY_S = 300.0
_FEW_LISTS = "IVF16"


def run() -> list[Figure]:
    """The index that the plan makes of so little memory, its shards' memory after many queries."""
    facts = load_facts()
    memory_bytes = _MOST_BYTES / facts.value("index_usable_memory_fraction")
    choice = choose_index(
        IndexDemand(
            vectors=_NUM,
            dims=_DIMS,
            recall=_RECALL,
            memory_bytes=memory_bytes,
            cores=len(os.sched_getaffinity(0)),
        ),
        facts,
    )
    with workplace("ten_million") as folder, Fleet.start() as fleet:
        data = DataSet(folder, _NUM, _DIMS, queries=_TRUTHS, truths=_TRUTHS)
        if not (folder / "index" / MANIFEST).exists():
            mapped = choice.chosen.raw_mapped
            _publish(folder / "index", data.mapped(), choice.key, choice.shards, mapped=mapped)
        if not (folder / "empty" / MANIFEST).exists():
            key = _FEW_LISTS + choice.key[choice.key.index(",") :]
            mapped = choice.chosen.raw_mapped
            _publish(folder / "empty", data.queries_QD, key, 1, mapped=mapped)
        _, _, empty_bytes = _searched(fleet, folder / "empty", data.queries_QD)
        found_QK, query_s, own = _searched(fleet, folder / "index", data.queries_QD)
        reached = data.recall(found_QK)
        own -= choice.shards * empty_bytes
    planned = choice.chosen.memory_bytes
    return [
        Figure(
            name=f"memory of {choice.shards} shards, {choice.key}",
            measured=own,
            unit="B",
            bar=f"at most {_MOST_BYTES / 1e9} GB in all, and the plan within {_NEAR:.0%}",
            held=own <= _MOST_BYTES and abs(planned / own - 1) <= _NEAR,
            beside={"planned": planned, "vectors alone": 4.0 * _NUM * _DIMS},
        ),
        Figure(
            name="recall@10 after refinement",
            measured=reached,
            unit="",
            bar=f"at least {_RECALL}",
            held=reached >= _RECALL,
            beside={"a query, in batches of 32, in ms": query_s * 1e3},
        ),
    ]


def _searched(fleet: Fleet, index: Path, queries_QD: Floats) -> tuple[Ordinals, float, float]:
    """The hits [Q, K] of an index, the seconds of a query, the memory of its shards' processes."""
    manifest = Manifest.read(index)
    with closing(open_on_fleet(index, manifest, fleet, replicas=1, ready_s=_READY_S)) as gang:
        nearest = Nearest(manifest, gang, None)
        found, begin_s = [], time.perf_counter()
        for start in range(0, _TRUTHS, _BATCH):
            near = nearest.search(queries_QD[start : start + _BATCH], _K, Deadline.after(30))
            assert near.coverage == 1.0, near.coverage
            found.append(near.ordinals_QK)
        query_s = (time.perf_counter() - begin_s) / _TRUTHS
        return np.concatenate(found), query_s, sum(_pss_bytes(gang, n) for n in gang.names)


def _publish(folder: Path, vectors_ND: Floats, key: str, shards: int, *, mapped: bool) -> None:
    with IndexWriter(
        folder,
        key="d" * 64,
        dims=_DIMS,
        num_shards=shards,
        space="clustered",
        faiss_key=key,
        recall=_RECALL,
        raw_mapped=mapped,
    ) as writer:
        for start in range(0, len(vectors_ND), _BLOCK):
            block_ND = vectors_ND[start : start + _BLOCK]
            writer.add([Row(f"d{start + n}", b"") for n in range(len(block_ND))], block_ND)
        writer.publish({})


def _pss_bytes(gang: Gang, name: str) -> float:
    """What a member's process keeps in memory, shared pages by their share."""
    pid = gang.pid(name)
    assert pid is not None, name
    return float(psutil.Process(pid).memory_full_info().pss)
