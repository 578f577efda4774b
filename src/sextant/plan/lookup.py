"""The sharded index behind a workload: its form, shards, replicas and times."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sextant.errors import InfeasibleError
from sextant.facts import Facts, Machine
from sextant.laws import availability, gather, index, recall, scan
from sextant.units import show, show_count
from sextant.workload import DTYPE_BYTES, Workload

DEFAULT_AVAILABILITY = 0.999


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """A way to keep vectors in memory, and what a search of it reads."""

    key: str
    title: str
    bytes_per_vector: float
    code_bytes: float
    """Bytes that comparing one vector with a query reads."""
    recall_reach: float
    core_bytes_per_s: float
    """What one core compares."""
    search: str
    """`scan` (everything), `graph` or `lists`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sharding:
    """An index in one form, laid out over servers; counts may be past what an int prints well."""

    form: Form
    num_vectors: float
    index_bytes: float
    capacity_shards: int
    num_shards: int
    shards_per_machine: int
    machines_per_copy: int
    num_replicas: int
    vectors_read: float
    read_bytes: float
    coarse_s: float
    """Finding the nearest lists, once, where the query is routed."""
    shard_s: float
    queries_per_s: float

    @property
    def num_machines(self) -> int:
        """Servers of all copies."""
        return self.machines_per_copy * self.num_replicas


@dataclass(frozen=True, kw_only=True, slots=True)
class LookUp:
    """One look-up in the chosen index, and the index in every form."""

    server: Machine
    chosen: Sharding
    forms: tuple[Sharding, ...]
    lookups_per_s: float
    k: int
    usable_bytes: float
    messages_s: float
    fan_out_s: float
    fan_out_p99_s: float
    hedged_p99_s: float
    merge_s: float
    why: str

    @property
    def p50_s(self) -> float:
        """Coarse search, fan-out and merge, without embedding."""
        return self.chosen.coarse_s + self.fan_out_s + self.merge_s

    @property
    def p99_s(self) -> float:
        """Coarse search, fan-out to the slowest shard, and merge."""
        return self.chosen.coarse_s + self.fan_out_p99_s + self.merge_s


def shard_server(machine: Machine, facts: Facts) -> Machine:
    """The machine that shards live on: one without accelerators, the reference's own if it is."""
    return facts.machine("cpu-server") if machine.accelerators else machine


def find_forms(workload: Workload, facts: Facts) -> tuple[Form, ...]:
    """The forms of the index, from exact to most compressed."""
    assert workload.index is not None
    dims, element = float(workload.index.dims), DTYPE_BYTES[workload.index.dtype]
    links, flat = facts.value("hnsw_links"), index.flat_bytes_per_vector(dims, element)
    pq = index.pq_code_bytes(dims, facts.value("pq_dims_per_byte"))
    one_bit = index.rabitq_code_bytes(dims)
    sq8_reach = facts.value("sq8_recall_reach") if element > 1.0 else 1.0
    rows = (
        ("flat", "flat (raw vectors)", flat, flat, 1.0, "scan"),
        ("hnsw", f"HNSW{links:g} over raw vectors", 0.0, flat, 0.0, "graph"),
        ("ivf_sq8", "inverted lists of 8-bit codes", dims + 8, dims, sq8_reach, "lists"),
        ("ivf_pq", f"inverted lists of PQ{pq:g}", pq + 8, pq, 0.0, "lists"),
        ("rabitq", "inverted lists of 1-bit RaBitQ", one_bit + 8, one_bit, 0.0, "lists"),
    )
    rate = {
        "ivf_sq8": facts.value("core_sq8_bytes_per_s"),
        "ivf_pq": facts.value("core_code_bytes_per_s"),
        "rabitq": facts.value("core_code_bytes_per_s"),
    }
    reach = {
        "hnsw": facts.value("hnsw_recall_reach"),
        "ivf_pq": facts.value("pq_recall_reach"),
        "rabitq": facts.value("rabitq_recall_reach"),
    }
    return tuple(
        Form(
            key=key,
            title=title,
            bytes_per_vector=each or index.hnsw_bytes_per_vector(dims, element, links),
            code_bytes=code,
            recall_reach=reach.get(key, own),
            core_bytes_per_s=rate.get(key, facts.value("core_scan_bytes_per_s")),
            search=search,
        )
        for key, title, each, code, own, search in rows
    )


def find_lookup(workload: Workload, machine: Machine, facts: Facts) -> LookUp:
    """Chooses form, shards and replicas: the fewest servers that reach the recall in time.

    Raises:
        InfeasibleError: no form answers within the deadline of `[serving]`.
    """
    assert workload.index is not None
    server = shard_server(machine, facts)
    rate = lookups_per_s(workload, facts)
    found = tuple(
        shard(form, workload, server, facts, rate) for form in find_forms(workload, facts)
    )
    able = [s for s in found if s.form.recall_reach >= workload.index.recall]
    target = min(_deadline(workload), facts.value("retrieval_target_s"))
    timed = [(s, _time(s, workload.index.k, facts)) for s in able]
    chosen, times = min(
        timed, key=lambda pair: (max(1.0, pair[1][1] / target), pair[0].num_machines)
    )
    fastest = chosen.coarse_s + times[1] + times[3]
    if fastest > _deadline(workload):
        raise InfeasibleError(
            f"the deadline of {show(_deadline(workload), 's')} is shorter than the fastest "
            f"look-up: {show(fastest, 's')} at p99 over "
            f"{say_shards(chosen.num_shards)} ({chosen.form.title})",
            where="serving.deadline",
            hint="allow more time, or a lower index.recall",
        )
    return LookUp(
        server=server,
        chosen=chosen,
        forms=found,
        lookups_per_s=rate,
        k=workload.index.k,
        usable_bytes=_usable(server, facts),
        fan_out_s=times[0],
        fan_out_p99_s=times[1],
        hedged_p99_s=times[2],
        merge_s=times[3],
        messages_s=times[4],
        why=_why(chosen, able, workload.index.recall),
    )


def lookups_per_s(workload: Workload, facts: Facts) -> float:
    """Look-ups a second: of streams where there are any, else one for each step of a request."""
    if workload.streams is not None:
        return workload.streams.count * facts.value("stream_lookups_per_s")
    return workload.serving.requests_per_s * workload.serving.steps if workload.serving else 0.0


def shard(form: Form, workload: Workload, server: Machine, facts: Facts, rate: float) -> Sharding:
    """Lays one form out: shards for capacity and for what a lost one costs, replicas for rate.

    An index whose raw vectors fit one server is one shard if its form does; once they do not, a
    lost shard may cost only so much recall, however far the form compresses them.
    """
    assert workload.index is not None
    count, usable = workload.num_vectors, _usable(server, facts)
    total = count * form.bytes_per_vector
    capacity = max(1, math.ceil(total / usable))
    limit = math.ceil(1.0 / facts.value("largest_lost_shard_recall"))
    raw = count * index.flat_bytes_per_vector(
        float(workload.index.dims), DTYPE_BYTES[workload.index.dtype]
    )
    shards = max(capacity, limit) if raw > usable else capacity
    held = max(1, min(math.floor(usable / (total / shards)), server.cores, shards))
    read = _vectors_read(form, workload, facts, count, shards)
    read_bytes = max(1.0, read * form.code_bytes)
    bandwidth = server.memory_bandwidth_bytes_per_s * facts.value("scan_bandwidth_fraction") / held
    thread_s, cores = _shard_s(form, read, read_bytes, bandwidth, facts), server.cores / held
    threads = cores if form.search != "scan" else 1.0
    per_s = scan.queries_per_s(thread_s, threads, read_bytes, bandwidth)
    wanted = workload.serving.availability if workload.serving else DEFAULT_AVAILABILITY
    spare = availability.replicas_for(facts.value("serving_node_availability"), wanted)
    busy = math.ceil(rate / (per_s * facts.value("retrieval_load")))
    return Sharding(
        form=form,
        num_vectors=count,
        index_bytes=total,
        capacity_shards=capacity,
        num_shards=shards,
        shards_per_machine=held,
        machines_per_copy=math.ceil(shards / held),
        num_replicas=max(1, spare, busy),
        vectors_read=read,
        read_bytes=read_bytes,
        coarse_s=_coarse_s(form, workload, facts),
        shard_s=thread_s,
        queries_per_s=per_s,
    )


def _vectors_read(
    form: Form, workload: Workload, facts: Facts, count: float, shards: float
) -> float:
    assert workload.index is not None
    wanted = workload.index.recall
    if form.search == "scan":
        return count / shards
    if form.search == "graph":
        growth = max(1.0, math.log10(max(10.0, count / shards)) / 6.0)
        ef = facts.value("hnsw_ef_times_miss") / max(1.0 - wanted, 1e-3) * growth
        ef = max(ef, float(workload.index.k))
        return scan.graph_vectors(count / shards, ef, facts.value("hnsw_links"))
    lists, probes = _lists(count, wanted, facts)
    return scan.inverted_list_vectors(count, lists, probes, shards)


def _lists(count: float, wanted: float, facts: Facts) -> tuple[float, float]:
    """Inverted lists of the whole index, and how many of them a query probes."""
    lists = max(1.0, facts.value("ivf_lists_per_root") * math.sqrt(count))
    return lists, min(lists, recall.probes_for(wanted, facts.value("ivf_probe_scale")))


def _coarse_s(form: Form, workload: Workload, facts: Facts) -> float:
    """Searching the graph over the centroids for the lists to probe."""
    assert workload.index is not None
    if form.search != "lists":
        return 0.0
    lists, probes = _lists(workload.num_vectors, workload.index.recall, facts)
    centroid = index.flat_bytes_per_vector(workload.index.dims, index.FLOAT_BYTES)
    compared = scan.graph_vectors(lists, probes, facts.value("hnsw_links"))
    core, miss = facts.value("core_scan_bytes_per_s"), facts.value("memory_miss_s")
    return scan.random_read_s(compared, centroid, core, miss)


def _shard_s(form: Form, read: float, read_bytes: float, bandwidth: float, facts: Facts) -> float:
    fixed, core = facts.value("shard_fixed_s"), form.core_bytes_per_s
    if form.search == "scan":
        return scan.sequential_read_s(read_bytes, bandwidth, fixed)
    if form.search == "graph":
        miss = facts.value("memory_miss_s")
        return scan.random_read_s(read, form.code_bytes, core, miss, fixed)
    return scan.sequential_read_s(read_bytes, min(core, bandwidth), fixed)


def _time(found: Sharding, k: int, facts: Facts) -> tuple[float, float, float, float, float]:
    """Fan-out p50, p99 and hedged p99, merge, and the messages alone, in seconds."""
    n, sigma = float(found.num_shards), facts.value("shard_time_log_sigma")
    base = facts.value("fan_out_base_s") + facts.value("data_center_round_trip_s")
    widest = facts.value("largest_fan_out")
    sent = gather.fan_out_messages_s(n, base, facts.value("fan_out_per_shard_s"), widest)
    p50 = sent + gather.slowest_s(found.shard_s, sigma, n, 0.5)
    p99 = sent + gather.slowest_s(found.shard_s, sigma, n)
    hedged = sent + gather.hedged_slowest_s(found.shard_s, sigma, n)
    merged = gather.merge_s(min(n, widest), k, facts.value("merge_compare_s"))
    return p50, p99, hedged, merged * gather.tree_levels(n, widest), sent


def _usable(server: Machine, facts: Facts) -> float:
    return server.memory_bytes * facts.value("index_usable_memory_fraction")


def _deadline(workload: Workload) -> float:
    return workload.serving.deadline if workload.serving else math.inf


def say_shards(count: float) -> str:
    """`one shard`, or `50 shards`."""
    return "one shard" if count == 1 else f"{show_count(count)} shards"


def _why(chosen: Sharding, able: list[Sharding], wanted: float) -> str:
    others = ", ".join(
        f"{s.form.key} {show_count(s.num_machines)}" for s in able if s.form.key != chosen.form.key
    )
    reason = f"of the forms that reach recall {wanted:g} it needs the fewest servers in time"
    return f"{reason} ({show_count(chosen.num_machines)}; {others})" if others else reason
