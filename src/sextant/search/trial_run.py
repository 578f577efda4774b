"""A trial of the engine on vectors that are made up: built, served, asked, and Faiss beside it.

The vectors lie in clusters of few dimensions of their own, as embeddings do; a query is drawn as
they are and is not among them.

Shape suffixes: N vectors, Q queries, D dimensions, K neighbours, R directions.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sextant.errors import EngineError
from sextant.fleet import Fleet
from sextant.search import engine, frames
from sextant.search.door_client import DoorClient
from sextant.search.effort import effort_name, set_one
from sextant.search.kinds import faiss_module, make, train, training_rows
from sextant.search.rows import Row
from sextant.search.vectors import served
from sextant.search.wire import Floats, Ordinals
from sextant.search.writer import IndexWriter

K = 10
_QUERIES, _BLOCK, _DIRECTIONS, _NOISE = 500, 20_000, 16, 0.1
_EFFORTS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
_DEADLINE_S, _BATCH = 600.0, 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """What clients got over a socket; times in seconds."""

    recall: float
    per_s: float
    p50_s: float
    p99_s: float


def made_up(num: int, dims: int, seed: int = 0) -> tuple[Floats, Floats]:
    """(vectors_ND, queries_QD), all of unit length."""
    dice = np.random.default_rng(seed)
    clusters = max(1, round(num**0.5))
    centres = dice.standard_normal((clusters, dims)).astype(np.float32) / np.float32(2 * dims**0.5)
    rank = min(dims, _DIRECTIONS)
    bases = dice.standard_normal((clusters, rank, dims)).astype(np.float32) / np.float32(dims**0.5)
    spread_R = (np.arange(1, rank + 1) ** -0.5).astype(np.float32)
    spread_R /= np.sqrt((spread_R**2).sum())
    vectors_ND = np.empty((num + _QUERIES, dims), np.float32)
    of_N = dice.integers(clusters, size=len(vectors_ND))
    steps_NR = dice.standard_normal((len(vectors_ND), rank)).astype(np.float32) * spread_R
    for cluster in range(clusters):
        rows = np.flatnonzero(of_N == cluster)
        vectors_ND[rows] = centres[cluster] + steps_NR[rows] @ bases[cluster]
    noise_ND = dice.standard_normal(vectors_ND.shape, dtype=np.float32)
    vectors_ND += noise_ND * np.float32(_NOISE / dims**0.5)
    vectors_ND /= np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return vectors_ND[:num], vectors_ND[num:]


def recall(rows_QK: Ordinals, true_QK: Ordinals) -> float:
    """The share of the true rows among those found."""
    return float((rows_QK[:, :, None] == true_QK[:, None, :]).any(1).mean())


def build(
    folder: Path, vectors_ND: Floats, key: str, shards: int, wanted: float, *, raw_mapped: bool
) -> None:
    """Publish an index of the vectors."""
    with IndexWriter(
        folder,
        key="0" * 64,
        dims=vectors_ND.shape[1],
        num_shards=shards,
        space="made up",
        faiss_key=key,
        recall=wanted,
        raw_mapped=raw_mapped,
    ) as writer:
        for start in range(0, len(vectors_ND), _BLOCK):
            block_ND = vectors_ND[start : start + _BLOCK]
            writer.add([Row(f"d{start + n}", b"") for n in range(len(block_ND))], block_ND)
        writer.publish({})


def serve(
    folder: Path, queries_QD: Floats, true_QK: Ordinals, replicas: int, clients: int, seconds: float
) -> Served:
    """Start the shards' processes, and ask them over a socket.

    Raises:
        EngineError: they do not start, or stop answering.
    """
    with Fleet.start() as fleet, served(folder, fleet, replicas=replicas) as door:
        with DoorClient("127.0.0.1", door.port) as client:
            found = client.search_many(queries_QD, K, deadline_s=60)
        rows_QK = np.stack([np.resize(one.ordinals_K, K) for one in found])
        times_s = _ask(door.port, queries_QD, clients, seconds)
    times_s.sort()
    return Served(
        recall=recall(rows_QK, true_QK),
        per_s=len(times_s) / seconds,
        p50_s=times_s[len(times_s) // 2],
        p99_s=times_s[int(0.99 * len(times_s))],
    )


def _ask(port: int, queries_QD: Floats, clients: int, seconds: float) -> list[float]:
    """Clients that each have one query on its way; the time that each answer took."""
    due_s = time.time() + _DEADLINE_S
    asked = [frames.query_frame(n, q.tobytes(), K, due_s) for n, q in enumerate(queries_QD, 1)]
    selector, times_s, clock = selectors.DefaultSelector(), [], time.perf_counter
    sent_s: dict[socket.socket, float] = {}
    try:
        for number in range(clients):
            one = socket.create_connection(("127.0.0.1", port), 10)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sent_s[one] = 0.0
            one.sendall(frames.hello(""))
            if not one.recv(1 << 16):
                raise EngineError("the door has closed")
            selector.register(one, selectors.EVENT_READ)
            sent_s[one] = clock()
            one.sendall(asked[number % len(asked)])
        end_s = clock() + seconds
        while (now_s := clock()) < end_s:
            for key, _ in selector.select(end_s - now_s):
                assert isinstance(key.fileobj, socket.socket)
                one = key.fileobj
                # An answer of ten hits is one segment.
                if not one.recv(1 << 16):
                    raise EngineError("the door has closed")
                now_s = clock()
                times_s.append(now_s - sent_s[one])
                sent_s[one] = now_s
                one.sendall(asked[len(times_s) % len(asked)])
    finally:
        for one in sent_s:
            one.close()
        selector.close()
    if not times_s:
        raise EngineError(f"no answer in {seconds:g} s")
    return times_s


def faiss_per_s(
    key: str,
    vectors_ND: Floats,
    queries_QD: Floats,
    true_QK: Ordinals,
    wanted: float,
    seconds: float,
) -> tuple[float, float]:
    """(queries a second, recall) of Faiss in this process with its own threads, batches of 32, at
    the least effort that reaches the recall; at the last one tried if none does.
    """
    index = make(key, vectors_ND.shape[1])
    if not index.is_trained:
        index = train(engine.sample(vectors_ND, training_rows(index)), key)
    index.add(vectors_ND)
    name, found = effort_name(index), 0.0
    for effort in _EFFORTS:
        if name:
            set_one(index, name, effort)
        found = recall(index.search(queries_QD, K)[1], true_QK)
        if found >= wanted or not name:
            break
    num, begin_s = 0, time.perf_counter()
    while time.perf_counter() - begin_s < seconds:
        at = num % (len(queries_QD) - _BATCH)
        index.search(queries_QD[at : at + _BATCH], K)
        num += _BATCH
    return num / (time.perf_counter() - begin_s), found


def true_rows(vectors_ND: Floats, queries_QD: Floats) -> Ordinals:
    """The rows of the K largest inner products of each query."""
    faiss = faiss_module()
    faiss.omp_set_num_threads(len(os.sched_getaffinity(0)))
    return engine.exact_neighbours(vectors_ND, queries_QD, K)
