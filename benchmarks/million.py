"""A million vectors behind a socket: the plan's index against Faiss in process, and peers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import psutil

from benchmarks import peers
from benchmarks.bench import Figure
from benchmarks.clustered import DataSet, recall, workplace
from benchmarks.load import Job, Load, drive
from sextant.facts import load_facts
from sextant.fleet import Fleet
from sextant.plan.index_choice import IndexChoice, IndexDemand, choose_index
from sextant.search import frames
from sextant.search.manifest import MANIFEST
from sextant.search.rows import Row
from sextant.search.vectors import served
from sextant.search.writer import IndexWriter

_NUM, _DIMS, _K, _RECALL = 1_000_000, 128, 10, 0.95
_QUERIES, _TRUTHS, _CLIENTS = 10_000, 2_000, 32
_WANTED_PER_S = 10_000.0
_SECONDS, _OF_FAISS = 5.0, 0.8
_BLOCK = 20_000
Index = Any


def run() -> list[Figure]:
    """The served index, Faiss's kinds at the same recall with as many threads, and the peers."""
    cores = len(os.sched_getaffinity(0))
    with workplace("million") as folder:
        data = DataSet(folder, _NUM, _DIMS, queries=_QUERIES, truths=_TRUTHS)
        choice = planned(cores)
        index_dir = published(folder, data, choice.key, choice.shards, _RECALL)
        load, found = serve(index_dir, data, choice)
        limits = {
            kind: best_per_s(make(folder, data), data, cores)
            for kind, make in (("flat", _flat), ("IVF", _lists), ("HNSW", _graph))
        }
        others = peers.measure(folder, data, _CLIENTS, _SECONDS)
    limit = max(limits.values())
    sockets = {one.name: one for one in others if one.socket and one.recall >= _RECALL}
    quickest = max((one.per_s for one in sockets.values()), default=0.0)
    tails = [one.p99_s for one in sockets.values()]
    return [
        Figure(
            name=f"recall@10 of {choice.key}",
            measured=found,
            unit="",
            bar=f"at least {_RECALL}",
            held=found >= _RECALL,
        ),
        Figure(
            name=f"served to {_CLIENTS} clients, {choice.shards} x {choice.replicas}",
            measured=load.per_s,
            unit="/s",
            bar=f"at least {_OF_FAISS} of in-process Faiss at its fastest, with {cores} threads; "
            "above every peer over a socket",
            held=load.per_s >= _OF_FAISS * limit and load.per_s > quickest,
            beside={f"Faiss {kind}": rate for kind, rate in limits.items()}
            | {f"{one.name} (recall {one.recall:.3f})": one.per_s for one in others},
        ),
        Figure(
            name="the same, p99",
            measured=load.p99_s,
            unit="s",
            bar="no higher than any peer's over a socket",
            held=all(load.p99_s <= tail for tail in tails) if tails else None,
            beside={"p50": load.p50_s} | {f"{one.name}": one.p99_s for one in others if one.socket},
        ),
    ]


def planned(cores: int) -> IndexChoice:
    """The index that the plan makes for the million vectors."""
    return choose_index(
        IndexDemand(
            vectors=_NUM,
            dims=_DIMS,
            recall=_RECALL,
            memory_bytes=psutil.virtual_memory().total,
            cores=cores,
            queries_per_s=_WANTED_PER_S,
        ),
        load_facts(),
    )


def published(folder: Path, data: DataSet, key: str, shards: int, wanted: float) -> Path:
    """The index of a data set, of this kind and so many shards, written if it is not there."""
    index_dir = folder / f"{key}-{shards}"
    if (index_dir / MANIFEST).exists():
        return index_dir
    vectors_ND = data.mapped()
    with IndexWriter(
        index_dir,
        key="e" * 64,
        dims=data.dims,
        num_shards=shards,
        space="clustered",
        faiss_key=key,
        recall=wanted,
    ) as writer:
        for start in range(0, data.num, _BLOCK):
            block_ND = vectors_ND[start : start + _BLOCK]
            writer.add([Row(f"d{start + n}", b"") for n in range(len(block_ND))], block_ND)
        writer.publish({})
    return index_dir


def serve(index_dir: Path, data: DataSet, choice: IndexChoice) -> tuple[Load, float]:
    """What clients get of the shards and replicas over a socket, and the recall."""
    due_s = time.time() + 600
    requests = [
        frames.query_frame(number, query_D.astype("<f4").tobytes(), _K, due_s)
        for number, query_D in enumerate(data.queries_QD, 1)
    ]
    with (
        Fleet.start() as fleet,
        served(index_dir, fleet, replicas=choice.replicas) as door,
    ):
        job = Job(
            port=door.port,
            protocol="door",
            hello=frames.hello(""),
            requests=requests,
            clients=_CLIENTS,
            seconds=_SECONDS,
            keep=_TRUTHS,
        )
        load = drive(job)
    answered = sorted(load.answers)
    rows_QK = np.stack([_rows(load.answers[number]) for number in answered])
    return load, recall(rows_QK, data.true_QK[answered])


def _rows(answer: bytes) -> np.ndarray[Any, Any]:
    *_, coverage, hits = frames.HITS_HEAD.unpack_from(answer)
    assert coverage == 1.0, coverage
    return np.frombuffer(answer, "<i8", hits, frames.HITS_HEAD.size)


def best_per_s(index: Index, data: DataSet, threads: int) -> float:
    """Queries a second at the wanted recall, batches of the clients' number: Faiss's own threads on
    each batch, or a thread a batch, whichever is quicker.
    """
    _settle(index, data)
    faiss.omp_set_num_threads(threads)
    inner = _per_s(lambda at: index.search(data.queries_QD[at : at + _CLIENTS], _K), 1)
    faiss.omp_set_num_threads(1)
    outer = _per_s(lambda at: index.search(data.queries_QD[at : at + _CLIENTS], _K), threads)
    return max(inner, outer)


def _settle(index: Index, data: DataSet) -> None:
    """Give an index the least effort that reaches the recall."""
    name = {"IndexIVFFlat": "nprobe", "IndexHNSWFlat": "efSearch"}.get(type(index).__name__)
    faiss.omp_set_num_threads(len(os.sched_getaffinity(0)))
    efforts = (16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 64, 72, 80, 96, 112, 128)
    for effort in efforts if name else ():
        faiss.ParameterSpace().set_index_parameter(index, name, effort)
        rows_QK = index.search(data.queries_QD[:_TRUTHS], _K)[1]
        if data.recall(rows_QK) >= _RECALL:
            return
    assert name is None, f"{name} {efforts[-1]} does not reach {_RECALL}"


def _per_s(search: Callable[[int], object], threads: int) -> float:
    """Batches searched for a while on so many threads; queries a second."""
    end_s = time.perf_counter() + _SECONDS

    def work(first: int) -> int:
        at, num = first * _CLIENTS, 0
        while time.perf_counter() < end_s:
            search(at)
            num += _CLIENTS
            at = (at + threads * _CLIENTS) % (_QUERIES - _CLIENTS)
        return num

    start_s = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(work, range(threads)))
    return done / (time.perf_counter() - start_s)


def _flat(folder: Path, data: DataSet) -> Index:  # noqa: ARG001
    return _filled(faiss.IndexFlatIP(data.dims), data)


def _lists(folder: Path, data: DataSet) -> Index:
    return _kept(folder / "ivf.faiss", "IVF1024,Flat", data)


def _graph(folder: Path, data: DataSet) -> Index:
    return _kept(folder / "hnsw.faiss", "HNSW32", data)


def _kept(path: Path, key: str, data: DataSet) -> Index:
    """An index of this kind, from its file if it was made before."""
    if path.exists():
        return faiss.read_index(str(path))
    faiss.omp_set_num_threads(len(os.sched_getaffinity(0)))
    index = faiss.index_factory(data.dims, key, faiss.METRIC_INNER_PRODUCT)
    if not index.is_trained:
        index.train(np.ascontiguousarray(data.mapped()[:: data.num // 100_000]))
    _filled(index, data)
    faiss.write_index(index, str(path))
    return index


def _filled(index: Index, data: DataSet) -> Index:
    vectors_ND = data.mapped()
    for start in range(0, data.num, _BLOCK):
        index.add(np.ascontiguousarray(vectors_ND[start : start + _BLOCK]))
    return index
