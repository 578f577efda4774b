"""Searching one shard: how much is read for a query, and how fast it can be read."""

from __future__ import annotations

import math


def inverted_list_vectors(
    num_vectors: float, num_lists: float, probes: float, num_shards: float = 1.0
) -> float:
    """Vectors that a query scans on one shard, where the shards share one coarse quantizer.

    Lists hold `n / lists` on average and each is spread over the shards by hash, so a shard scans
    `n / N x min(1, probes / lists)`.
    Source: Jegou, Douze and Schmid 2011, section IV (IVFADC visits w of k' lists).
    """
    return num_vectors / max(1.0, num_shards) * min(1.0, probes / max(1.0, num_lists))


def graph_vectors(num_vectors: float, ef_search: float, links: float) -> float:
    """Distances that a search of an HNSW graph computes.

    Greedy descent through `log_M(n)` layers, then the ground layer expands `ef` vectors; a quarter
    of their 2 M neighbours are new: `M / 2 (ef + log_M n)`, at most n.
    Known error: with `random_read_s` and lists of codes at 2 GB/s a core, queries a second of
    Faiss on three billion-vector sets are 7% to 14% off in the mean (225 operating points); on
    a 2.2 GHz Xeon the same constants are 1.7 times too fast.
    Source: Malkov and Yashunin 2018, section 4.2.1; the quarter is fitted to those rows.
    """
    layers = math.log(max(2.0, num_vectors)) / math.log(max(2.0, links))
    return min(num_vectors, links / 2.0 * (ef_search + layers))


def sequential_read_s(read_bytes: float, bytes_per_s: float, fixed_s: float = 0.0) -> float:
    """Time of a scan that streams memory: `fixed + bytes / bandwidth`."""
    return fixed_s + read_bytes / bytes_per_s


def random_read_s(
    num_vectors: float,
    vector_bytes: float,
    bytes_per_s: float,
    miss_s: float,
    fixed_s: float = 0.0,
) -> float:
    """Time of visiting vectors one by one: each waits for memory, then streams.

    `fixed + n (miss + bytes / bandwidth)`.
    Source: the latency-bandwidth model; Dean, Numbers Everyone Should Know (100 ns a miss).
    """
    return fixed_s + num_vectors * (miss_s + vector_bytes / bytes_per_s)


def queries_per_s(
    thread_s: float, cores: float, read_bytes: float, memory_bytes_per_s: float
) -> float:
    """Queries that a shard answers a second: bound by its cores or by its memory's bandwidth.

    `min(cores / thread time, bandwidth / bytes a query reads)`: a roofline with one thread a
    query.
    Source: Williams, Waterman and Patterson 2009 (roofline).
    """
    return min(cores / thread_s, memory_bytes_per_s / read_bytes)
