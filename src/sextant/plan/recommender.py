"""The recommender's part of a plan: tables over shards, a step, and the ranking of a request."""

from __future__ import annotations

import math
from collections.abc import Iterator

from sextant.axes import Axis
from sextant.errors import InfeasibleError
from sextant.facts import Facts, Machine
from sextant.plan.part import Bill, Part
from sextant.plan.quantity import Budget, Hardest, Striking
from sextant.plan.ranking import Ranking, plan_ranking
from sextant.plan.table_training import TableTraining, plan_table_training
from sextant.plan.tables import TableSizes, size_tables
from sextant.units import show, show_count, show_seconds
from sextant.workload import Workload


def plan_recommender(workload: Workload, machine: Machine, facts: Facts) -> Part | None:
    """Sizes the embedding tables, their training and their serving; None without `[tables]`.

    Raises:
        InfeasibleError: the tables do not fit the stated fleet, or the samples cannot be got
            through in time, or one ranking takes longer than the deadline.
    """
    if workload.tables is None:
        return None
    sizes = size_tables(workload, machine, facts)
    _check_fleet(workload, machine, sizes)
    training = plan_table_training(workload, machine, facts, sizes)
    ranking = plan_ranking(workload, machine, facts, sizes)
    quantities = [*sizes.quantities]
    if training is not None:
        quantities += training.quantities
    if ranking is not None:
        quantities += ranking.quantities
    busy, waiting = _lean(training, ranking)
    return Part(
        name="recommender",
        quantities=tuple(quantities),
        layout=_layout(workload, sizes, training, ranking),
        striking=_striking(sizes, training),
        hardest=_hardest(sizes, training),
        busy=busy,
        waiting=waiting,
        bills=tuple(_bills(workload, machine, training, ranking)),
        budget=_budget(workload, ranking),
        risks=tuple(_risks(workload, sizes, training, ranking)),
        assumptions=tuple(_assumptions(workload, facts)),
        costs=_costs(sizes, training, ranking),
    )


def _check_fleet(workload: Workload, machine: Machine, sizes: TableSizes) -> None:
    count = workload.fleet.count
    if count is None or sizes.num_shards <= count * machine.units:
        return
    raise InfeasibleError(
        f"memory: the tables take {show(sizes.total_bytes, 'B')}, {count} x {machine.name} hold "
        f"{show(count * machine.units * sizes.usable_bytes, 'B')} of tables",
        where="tables.rows",
        hint=f"{math.ceil(sizes.num_shards / machine.units):,} machines would hold them",
    )


def _layout(
    workload: Workload,
    sizes: TableSizes,
    training: TableTraining | None,
    ranking: Ranking | None,
) -> dict[str, object]:
    tables = workload.tables
    assert tables is not None
    layout: dict[str, object] = {
        "tables": f"{show_count(sizes.num_shards)} shards by row",
        "why": "shards for capacity, replicas for throughput",
        "optimizer": tables.optimizer,
    }
    if training is not None:
        layout["trainers"] = int(training.shards)
    if ranking is not None:
        layout["ranking_replicas"] = int(ranking.replicas)
        layout["shards_per_replica"] = int(sizes.serving_shards)
    return layout


def _striking(sizes: TableSizes, training: TableTraining | None) -> Striking:
    number = f"{show(sizes.table_bytes, 'B')} of embeddings"
    if training is None:
        return Striking(number=number, because=sizes.table_because)
    share = f"{100 * min(1.0, training.distinct_rows / sizes.rows):.2g}%"
    because = (
        f"{sizes.table_because}; yet one step touches only {show_count(training.lookups)} ids, "
        f"{show_count(training.distinct_rows)} distinct rows, {share} of them"
    )
    return Striking(number=number, because=because)


def _hardest(sizes: TableSizes, training: TableTraining | None) -> Hardest:
    if sizes.num_shards <= 1.0:
        return Hardest(
            what="keeping up with the samples and the requests",
            axis=Axis.TRAINING,
            because=f"the tables ({show(sizes.total_bytes, 'B')}) fit one accelerator",
        )
    because = f"{sizes.table_because} lie on {show_count(sizes.num_shards)} shards"
    if training is not None:
        because += (
            f"; every step of {show_seconds(training.step_s)} gathers "
            f"{show(training.gathered, 'B')} from all of them and exchanges vectors "
            "with all of them, for any user's ids"
        )
    what = "gathering a step's rows from all the shards of the tables, and keeping them balanced"
    return Hardest(what=what, axis=Axis.MODEL, because=because)


def _lean(
    training: TableTraining | None, ranking: Ranking | None
) -> tuple[dict[Axis, float], dict[Axis, float]]:
    """Machine seconds by axis over one second of the service."""
    busy: dict[Axis, float] = {}
    waiting: dict[Axis, float] = {}
    if training is not None:
        time, share = training.time, training.shards / training.step_s
        busy[Axis.DATA] = time.read_s * share
        busy[Axis.TRAINING] = (time.gather_s + time.dense_s + time.overhead_s) * share
        waiting[Axis.MODEL] = time.exchange_s * share
        waiting[Axis.COORDINATION] = time.gradient_sum_s * share
    if ranking is not None:
        busy[Axis.INFERENCE] = ranking.busy_s * ranking.requests_per_s
        fan_out = ranking.network_s * ranking.requests_per_s
        slowest = ranking.straggle_s * ranking.requests_per_s
        waiting[Axis.MODEL] = waiting.get(Axis.MODEL, 0.0) + fan_out
        waiting[Axis.COORDINATION] = waiting.get(Axis.COORDINATION, 0.0) + slowest
    return busy, waiting


def _bills(
    workload: Workload, machine: Machine, training: TableTraining | None, ranking: Ranking | None
) -> Iterator[Bill]:
    """Training is always on where its samples come again and again (logs of a day in a day)."""
    price = machine.price_usd_per_hour
    if training is not None:
        comes_again = workload.corpus is not None and workload.corpus.read_within is not None
        always = comes_again or training.total_s is None
        hours = None if always else (training.total_s or 0.0) / 3600.0
        yield Bill(
            what="training",
            machine=machine.name,
            count=math.ceil(training.shards / machine.units),
            usd_per_hour=price,
            hours=hours,
        )
    if ranking is not None:
        machines = math.ceil(ranking.replicas * ranking.shards / machine.units)
        yield Bill(what="ranking", machine=machine.name, count=machines, usd_per_hour=price)


def _budget(workload: Workload, ranking: Ranking | None) -> Budget | None:
    if ranking is None or workload.serving is None:
        return None
    return Budget(
        allowed_s=workload.serving.deadline, stages=ranking.stages, what="one request, at its p99"
    )


def _risks(
    workload: Workload,
    sizes: TableSizes,
    training: TableTraining | None,
    ranking: Ranking | None,
) -> Iterator[str]:
    if sizes.serving_shards > 1:
        yield (
            f"a lost shard takes 1/{show_count(sizes.serving_shards)} of the rows with it: each "
            "shard needs a replica, or a default vector for the rows that are gone"
        )
    if training is not None and training.shards > 1:
        yield "one slow or lost trainer stops every step, since the exchange waits for all"
    if ranking is None or workload.serving is None:
        return
    if ranking.p99_s > workload.serving.deadline:
        yield (
            f"timeouts in the wrong order: one ranking takes {show_seconds(ranking.p99_s)} at its "
            f"p99, longer than the deadline of {show_seconds(workload.serving.deadline)}"
        )


def _assumptions(workload: Workload, facts: Facts) -> Iterator[str]:
    if not any(model.kind == "ranker" for model in workload.model.values()):
        yield f"dense part of {show_count(facts.value('ranker_parameters'))} parameters"
    if workload.training is not None and workload.training.global_batch is None:
        batch = show_count(facts.value("recommender_global_batch"))
        yield f"{batch} samples in a step, where the workload states none"
    pooled = facts.value("ids_per_pooled_vector")
    yield f"{pooled:g} ids are summed into one vector before it crosses to another shard"


def _costs(
    sizes: TableSizes, training: TableTraining | None, ranking: Ranking | None
) -> dict[Axis, str]:
    costs = {Axis.MODEL: f"{show_count(sizes.num_shards)} shards of tables"}
    if training is not None:
        step = show_seconds(training.time.exchange_s)
        costs[Axis.MODEL] += f", and {step} of every step exchanging vectors"
        count = show_count(training.shards)
        costs[Axis.TRAINING] = f"{count} accelerators at {show_seconds(training.step_s)} a step"
        costs[Axis.COORDINATION] = (
            f"{show_seconds(training.time.gradient_sum_s)} of every step summing gradients"
        )
        costs[Axis.DATA] = f"{show(training.read_bytes_per_s, 'B/s')} of samples read"
    if ranking is not None:
        costs[Axis.INFERENCE] = (
            f"{show_count(ranking.replicas)} replicas of {show_count(ranking.shards)} shards"
        )
    return costs
