"""Chooses the kind of an index, its shards and its replicas, from what it must do.

Shards are for capacity, replicas for throughput. Exact search is taken wherever it keeps up, since
nothing is then given away; else the kind that needs the fewest shards, and of those the quickest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sextant.facts import Facts
from sextant.laws import index, shard_search
from sextant.units import show, show_count, show_seconds

FLOAT_BYTES = index.FLOAT_BYTES
ORDINAL_BYTES = 8.0
"""A row's place in the whole index, kept beside its vector."""
_DIMS_PER_CODE = 2
_CODE_BITS = 4.0
_HITS = 10.0
_BYTE_FACTOR = 2.0
"""Candidates over hits that put vectors of a byte a dim in order; more found no more neighbours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexDemand:
    """What an index must do.

    `memory_bytes` and `cores` are of the machine that holds one shard, or all of them;
    `queries_per_s` is None where nobody says how many come.
    """

    vectors: int
    dims: int
    recall: float
    memory_bytes: float
    cores: int
    queries_per_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class KindCost:
    """One kind of index, and what it would take.

    Attributes:
        kind: `flat`, `hnsw`, `ivf`, or, refined by raw vectors, `hnsw_sq8` or `ivf_pq`.
        key: the Faiss factory key.
        reach: the largest recall@10 that it is planned for.
        memory_bytes: what a search keeps in memory, of the whole index.
        raw_mapped: whether that counts the raw vectors too.
        query_s: one core's time for one query over the whole index.
    """

    kind: str
    key: str
    reach: float
    memory_bytes: float
    raw_mapped: bool
    query_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexChoice:
    """The kind that was chosen, its shards and replicas, and why."""

    chosen: KindCost
    shards: int
    replicas: int
    because: tuple[str, ...]

    @property
    def key(self) -> str:
        """The Faiss factory key."""
        return self.chosen.key


def choose_index(demand: IndexDemand, facts: Facts) -> IndexChoice:
    """The index for a demand, whose recall is at most 1: exact search reaches every recall."""
    usable = demand.memory_bytes * facts.value("index_usable_memory_fraction")
    kinds = [one for one in kind_costs(demand, facts) if one.reach >= demand.recall]
    wanted = _wanted_per_s(demand, facts)
    load = facts.value("retrieval_load")

    def order(one: KindCost) -> tuple[float, bool, float]:
        slow = wanted * one.query_s > load * demand.cores
        # Exact search that keeps up comes before everything that needs as many shards.
        return _shards(one, usable), one.kind != "flat" or slow, one.query_s

    chosen = min(kinds, key=order)
    shards = _shards(chosen, usable)
    busy = math.ceil(wanted * chosen.query_s / load)
    replicas = max(1, min(busy, demand.cores // shards))
    return IndexChoice(
        chosen=chosen,
        shards=shards,
        replicas=replicas,
        because=_because(demand, kinds, chosen, shards, replicas, usable, wanted),
    )


def kind_costs(demand: IndexDemand, facts: Facts) -> tuple[KindCost, ...]:
    """Every kind, and what it would take for this demand."""
    found = [_flat(demand, facts), _graph(demand, facts), _small_graph(demand, facts)]
    found.append(_lists(demand, facts))
    if demand.dims % _DIMS_PER_CODE == 0:
        found.append(_codes(demand, facts))
    return tuple(found)


def _flat(demand: IndexDemand, facts: Facts) -> KindCost:
    raw = _raw_bytes(demand)
    return KindCost(
        kind="flat",
        key="Flat",
        reach=1.0,
        memory_bytes=raw + demand.vectors * ORDINAL_BYTES,
        raw_mapped=True,
        query_s=raw / facts.value("core_scan_bytes_per_s"),
    )


def _graph(demand: IndexDemand, facts: Facts) -> KindCost:
    links = facts.value("hnsw_links")
    row = index.flat_bytes_per_vector(demand.dims, FLOAT_BYTES)
    return KindCost(
        kind="hnsw",
        key=f"HNSW{links:g}",
        reach=facts.value("hnsw_recall_reach"),
        memory_bytes=demand.vectors * (row + index.hnsw_graph_bytes(links) + ORDINAL_BYTES),
        raw_mapped=True,
        query_s=_walk_s(demand, facts, row, facts.value("graph_vector_s")),
    )


def _small_graph(demand: IndexDemand, facts: Facts) -> KindCost:
    """A graph over vectors of a byte a dim; the best are scored again by their raw vectors."""
    links, row = facts.value("hnsw_links"), float(demand.dims)
    held = demand.vectors * (row + index.hnsw_graph_bytes(links) + ORDINAL_BYTES)
    mapped = _has_room(demand, facts, held + _raw_bytes(demand))
    again = facts.value("rescored_vector_s" if mapped else "read_vector_s")
    walk_s = _walk_s(demand, facts, row, facts.value("quantized_graph_vector_s"))
    return KindCost(
        kind="hnsw_sq8",
        key=f"HNSW{links:g}_SQ8",
        reach=facts.value("refined_recall_reach"),
        memory_bytes=held + (_raw_bytes(demand) if mapped else 0.0),
        raw_mapped=mapped,
        query_s=walk_s + _BYTE_FACTOR * _HITS * again,
    )


def _walk_s(demand: IndexDemand, facts: Facts, row_bytes: float, vector_s: float) -> float:
    """One query's walk of a graph, with as many candidates as the recall takes."""
    ef = max(_HITS, facts.value("hnsw_ef_times_miss") / max(1.0 - demand.recall, 1e-3))
    links, rate = facts.value("hnsw_links"), facts.value("core_scan_bytes_per_s")
    return shard_search.graph_s(demand.vectors, row_bytes, ef, links, vector_s, rate)


def _lists(demand: IndexDemand, facts: Facts) -> KindCost:
    lists, rate = _num_lists(demand, facts), facts.value("core_scan_bytes_per_s")
    scale, row = facts.value("flat_list_probe_scale"), demand.dims * FLOAT_BYTES
    shape = index.InvertedLists(lists=lists, centroid_dims=demand.dims, code_bytes=row)
    stored = index.inverted_list_bytes(demand.vectors, shape).total
    probes = shard_search.refined_probes(demand.recall, scale, lists)
    return KindCost(
        kind="ivf",
        key=f"IVF{lists},Flat",
        reach=facts.value("list_recall_reach"),
        memory_bytes=stored + demand.vectors * ORDINAL_BYTES,
        raw_mapped=True,
        query_s=shard_search.lists_s(demand.vectors, demand.dims, lists, probes, row, rate, rate),
    )


def _codes(demand: IndexDemand, facts: Facts) -> KindCost:
    """Lists of 4-bit codes, whose candidates are scored again by their raw vectors."""
    lists, scale = _num_lists(demand, facts), facts.value("flat_list_probe_scale")
    held = codes_memory_bytes(demand.vectors, demand.dims, lists)
    raw = _raw_bytes(demand)
    mapped = _has_room(demand, facts, held + raw)
    again = facts.value("rescored_vector_s" if mapped else "read_vector_s")
    factor = shard_search.refined_factor(demand.recall, facts.value("refined_factor_times_miss"))
    probes = shard_search.refined_probes(demand.recall, scale, lists)
    scanned_s = shard_search.lists_s(
        demand.vectors,
        demand.dims,
        lists,
        probes,
        _code_bytes(demand.dims),
        facts.value("fast_scan_bytes_per_s"),
        facts.value("core_scan_bytes_per_s"),
    )
    return KindCost(
        kind="ivf_pq",
        key=f"IVF{lists},PQ{demand.dims // _DIMS_PER_CODE}x{_CODE_BITS:g}fs",
        reach=facts.value("refined_recall_reach"),
        memory_bytes=held + (raw if mapped else 0.0),
        raw_mapped=mapped,
        query_s=scanned_s + factor * _HITS * again,
    )


def codes_memory_bytes(vectors: float, dims: float, lists: float, shards: float = 1.0) -> float:
    """What lists of 4-bit codes keep in memory over all shards, with the rows' ordinals.

    Every shard has all lists, so the centroids and what each list loses to alignment come with
    each shard again.
    Source: `index.resident_bytes`.
    """
    shape = index.InvertedLists(
        lists=lists, centroid_dims=dims, code_bytes=_code_bytes(dims), fast_scan=True
    )
    return shards * index.resident_bytes(vectors / shards, shape) + vectors * ORDINAL_BYTES


def _code_bytes(dims: float) -> float:
    return dims / _DIMS_PER_CODE * _CODE_BITS / 8.0


def _num_lists(demand: IndexDemand, facts: Facts) -> int:
    return shard_search.lists_for(demand.vectors, facts.value("flat_lists_per_root"))


def _has_room(demand: IndexDemand, facts: Facts, held_bytes: float) -> bool:
    return held_bytes <= demand.memory_bytes * facts.value("index_usable_memory_fraction")


def _raw_bytes(demand: IndexDemand) -> float:
    return demand.vectors * index.flat_bytes_per_vector(demand.dims, FLOAT_BYTES)


def _shards(one: KindCost, usable: float) -> int:
    return max(1, math.ceil(one.memory_bytes / usable))


def _wanted_per_s(demand: IndexDemand, facts: Facts) -> float:
    if demand.queries_per_s is not None:
        return demand.queries_per_s
    return facts.value("local_questions_per_s_per_core") * demand.cores


def _because(
    demand: IndexDemand,
    kinds: list[KindCost],
    chosen: KindCost,
    shards: int,
    replicas: int,
    usable: float,
    wanted: float,
) -> tuple[str, ...]:
    """The choice in words and figures: the kind, the shards, the replicas."""
    rest = ", ".join(
        f"{one.kind} {show_seconds(one.query_s)} in {show(one.memory_bytes, 'B')}"
        for one in kinds
        if one is not chosen
    )
    took = f"{show_seconds(chosen.query_s)} of a core a query"
    rate = f"{show_count(wanted)} queries/s"
    why = (
        f"exact search keeps up with {rate}: {took}"
        if chosen.kind == "flat"
        else f"{took} at recall {demand.recall:g}"
    )
    held = f"{show(chosen.memory_bytes, 'B')} in {show(usable, 'B')} of usable memory"
    if not chosen.raw_mapped:
        held += ", raw vectors read from disk"
    return (
        f"{chosen.key} for {show_count(demand.vectors)} vectors x {demand.dims}: {why}"
        + (f" ({rest})" if rest else ""),
        f"{shards} for capacity: {held}",
        f"{replicas} for throughput: {rate} on {demand.cores} cores",
    )
