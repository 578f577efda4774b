"""Serving the ranker: the time of one request, and the replicas that carry all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sextant.axes import Axis
from sextant.errors import InfeasibleError
from sextant.facts import Facts, Machine
from sextant.laws.exchange import exchange_s
from sextant.laws.gather import slowest_s
from sextant.laws.queueing import wait_quantile_s
from sextant.laws.tables import gather_bytes
from sextant.plan.part import exact, within
from sextant.plan.quantity import Quantity, Stage
from sextant.plan.table_training import dense_parameters, fabric_of
from sextant.plan.tables import ARITHMETIC, TableSizes
from sextant.units import show, show_count, show_seconds
from sextant.workload import Workload

REPLICATED_FROM = 0.99
"""An availability above this needs a second replica."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranking:
    """One request's time, and how many replicas there are."""

    shards: float
    replicas: float
    requests_per_s: float
    busy_s: float
    """Accelerator seconds of one request, over all shards."""
    network_s: float
    straggle_s: float
    """What waiting for the slowest shard adds, at the median."""
    p99_s: float
    stages: tuple[Stage, ...]
    quantities: tuple[Quantity, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Request:
    flops: float
    lookups: float
    gathered: float
    gather_s: float
    """On each of the shards, at once."""
    dense_s: float
    """On the one accelerator of the replica that ranks this request."""
    overhead_s: float
    network_s: float

    @property
    def best_s(self) -> float:
        """With no queue and no slow shard."""
        return self.network_s + self.overhead_s + self.gather_s + self.dense_s

    def taken_s(self, shards: float) -> float:
        """Seconds that each accelerator of a replica is taken by one request, on average."""
        return self.gather_s + self.dense_s / shards


def plan_ranking(
    workload: Workload, machine: Machine, facts: Facts, sizes: TableSizes
) -> Ranking | None:
    """The ranking of a request over the shards of the tables; None without `[serving]`."""
    serving, tables = workload.serving, workload.tables
    if serving is None or tables is None:
        return None
    shards = sizes.serving_shards
    request = _request(workload, machine, facts, sizes)
    _check_deadline(workload, request)
    load = facts.value("ranking_target_load")
    rate = load / request.taken_s(shards)
    spare = 2.0 if serving.availability > REPLICATED_FROM else 1.0
    needed = serving.requests_per_s / rate
    replicas = max(spare, float(math.ceil(needed)))
    sigma = facts.value("service_log_sigma")
    usual = _stages(request, shards, load, sigma, 0.5)
    p50 = sum(stage.seconds for stage in usual)
    stages = _stages(request, shards, load, sigma, 0.99)
    p99 = sum(stage.seconds for stage in stages)
    quantities = (
        *_costs(workload, request, facts),
        *_latencies(request, shards, p50, p99, load),
        *_throughput(workload, request.taken_s(shards), rate, replicas, spare),
    )
    return Ranking(
        shards=shards,
        replicas=replicas,
        requests_per_s=serving.requests_per_s,
        busy_s=request.taken_s(shards) * shards,
        network_s=request.network_s,
        straggle_s=sum(s.seconds for s in usual if s.axis is Axis.COORDINATION),
        p99_s=p99,
        stages=stages,
        quantities=quantities,
    )


def _request(workload: Workload, machine: Machine, facts: Facts, sizes: TableSizes) -> _Request:
    tables = workload.tables
    assert tables is not None
    rankers = [model for model in workload.model.values() if model.kind == "ranker"]
    dtype = rankers[0].dtype if rankers else "bf16"
    shards = sizes.serving_shards
    lookups = tables.candidates * tables.lookups_per_sample
    gathered = gather_bytes(lookups, sizes.row_bytes)
    flops = 2.0 * dense_parameters(workload, facts) * tables.candidates
    pooled = gathered / min(tables.lookups_per_sample, facts.value("ids_per_pooled_vector"))
    pooled = min(gathered, pooled)
    memory = machine.unit_bandwidth_bytes_per_s * facts.value("table_gather_efficiency")
    compute = machine.flops_per_s(dtype) * facts.value("ranker_utilisation")
    exchange = exchange_s(pooled / shards, shards, fabric_of(machine, facts))
    return _Request(
        flops=flops,
        lookups=lookups,
        gathered=gathered,
        gather_s=gathered / shards / memory,
        dense_s=flops / compute,
        overhead_s=facts.value("ranking_overhead_s"),
        network_s=facts.value("data_center_round_trip_s") + exchange,
    )


def _check_deadline(workload: Workload, request: _Request) -> None:
    serving = workload.serving
    assert serving is not None
    if request.best_s <= serving.deadline:
        return
    raise InfeasibleError(
        f"latency: one ranking takes {show_seconds(request.best_s)} with no queue at all, "
        f"{show_seconds(serving.deadline)} allowed",
        where="serving.deadline",
        hint="fewer candidates, fewer look-ups, a smaller ranker or a longer deadline",
    )


def _stages(
    request: _Request, shards: float, load: float, sigma: float, probability: float
) -> tuple[Stage, ...]:
    """A quantile of each stage: the slowest of the shards, then the queue of one accelerator.

    The queue is M/M/1. Quantiles of stages added up overstate the quantile of the sum a little.
    """
    stretch = 1.0 + wait_quantile_s(1.0, load, 1.0, 1.0, 1.0, probability)
    tail = slowest_s(1.0, sigma, shards, probability) - 1.0
    fan_out = request.network_s + request.overhead_s
    return (
        Stage(name="ids to all shards, vectors back", axis=Axis.MODEL, seconds=fan_out),
        Stage(name="waiting for the slowest", axis=Axis.COORDINATION, seconds=fan_out * tail),
        Stage(name="gather rows", axis=Axis.MODEL, seconds=request.gather_s * stretch),
        Stage(name="rank", axis=Axis.INFERENCE, seconds=request.dense_s * stretch),
    )


def _costs(workload: Workload, request: _Request, facts: Facts) -> list[Quantity]:
    tables = workload.tables
    assert tables is not None
    dense = dense_parameters(workload, facts)
    rank = (
        f"2 x {show_count(dense)} dense parameters x {show_count(tables.candidates)} candidates = "
        f"{show(request.flops, 'FLOP')}"
    )
    gather = (
        f"{show_count(tables.candidates)} candidates x {show_count(tables.lookups_per_sample)} "
        f"look-ups x a row = {show(request.gathered, 'B')}"
    )
    return [
        exact("rank_flops", request.flops, "FLOP", rank, "Kaplan et al. 2020, section 2.1"),
        exact("rank_gather_bytes", request.gathered, "B", gather, ARITHMETIC),
    ]


def _latencies(
    request: _Request, shards: float, p50: float, p99: float, load: float
) -> list[Quantity]:
    parts = (
        f"network {show_seconds(request.network_s)} and {show_seconds(request.overhead_s)} of "
        f"handling to the slowest of {show_count(shards)} shards, gather "
        f"{show_seconds(request.gather_s)} and rank "
        f"{show_seconds(request.dense_s)} in a queue at {load:.0%} load"
    )
    source = "Kleinrock 1975; David and Nagaraja 2003; rates from facts"
    return [
        within("ranking_p50_s", p50, "s", 2.0, f"{parts}: median {show_seconds(p50)}", source),
        within("query_p99_s", p99, "s", 2.5, f"{parts}: p99 {show_seconds(p99)}", source),
    ]


def _throughput(
    workload: Workload, taken_s: float, rate: float, replicas: float, spare: float
) -> list[Quantity]:
    serving = workload.serving
    assert serving is not None
    each = f"an accelerator of a replica is taken {show_seconds(taken_s)} by a request, so it "
    each += f"carries {show_count(rate)} requests/s with room for bursts"
    many = f"{show_count(serving.requests_per_s)} requests/s / {show_count(rate)} a replica"
    if replicas == spare and spare > 1.0:
        many += f", and two at the least for {serving.availability:.4g} availability"
    spread = 1.0 if replicas == spare else 2.0
    return [
        within("requests_per_s_per_replica", rate, "/s", 2.0, each, "rates from facts"),
        within("num_replicas", replicas, "", spread, many, ARITHMETIC),
    ]
