"""Training the tables: what a step touches, how long it takes, how many accelerators are needed."""

from __future__ import annotations

from dataclasses import dataclass

from sextant.errors import InfeasibleError
from sextant.facts import Facts, Machine
from sextant.laws.embedding_step import StepRates, StepTime, StepWork, step_time
from sextant.laws.exchange import Fabric
from sextant.laws.tables import gather_bytes
from sextant.laws.zipf import expected_distinct
from sextant.plan.demand import parameters
from sextant.plan.part import exact, within
from sextant.plan.quantity import Quantity
from sextant.plan.tables import ARITHMETIC, TableSizes, trains_tables
from sextant.units import show, show_count, show_seconds
from sextant.workload import DTYPE_BYTES, Tables, Workload

DAY_S = 86400.0
STEP_SPREAD = 1.6
MOST_DOUBLINGS = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class TableTraining:
    """One step, and the whole job."""

    shards: float
    time: StepTime
    step_s: float
    lookups: float
    distinct_rows: float
    gathered: float
    read_bytes_per_s: float
    total_s: float | None
    quantities: tuple[Quantity, ...]


def dense_parameters(workload: Workload, facts: Facts) -> float:
    """Parameters of the ranker's dense part: the ranker's, or a usual one's."""
    rankers = [parameters(m) for m in workload.model.values() if m.kind == "ranker"]
    return max(rankers) if rankers else facts.value("ranker_parameters")


def fabric_of(machine: Machine, facts: Facts) -> Fabric:
    """What one accelerator of the machine can send."""
    reached = facts.value("exchange_efficiency")
    network = machine.network_bytes_per_s / machine.units * reached
    fast = machine.fast_link_bytes_per_s * reached
    return Fabric(
        domain=float(max(1, machine.fast_domain)) if fast > 0.0 else 1.0,
        fast_bytes_per_s=fast or network,
        network_bytes_per_s=network,
        latency_s=facts.value("exchange_latency_s"),
    )


def plan_table_training(
    workload: Workload, machine: Machine, facts: Facts, sizes: TableSizes
) -> TableTraining | None:
    """The step and the job; None where the workload does not train the tables.

    Raises:
        InfeasibleError: no number of accelerators gets through the samples in time.
    """
    training, tables = workload.training, workload.tables
    if training is None or tables is None or not trains_tables(workload):
        return None
    batch = float(training.global_batch or facts.value("recommender_global_batch"))
    work = _work(workload, facts, sizes, batch)
    rates = _rates(workload, machine, facts)
    shards = _enough_shards(workload, machine, sizes, work, rates, batch)
    time = step_time(work, rates, shards)
    step = time.total_s
    total = None if training.samples is None else training.samples / batch * step
    quantities = [
        *_touched(tables, batch, work),
        *_timed(work, time, shards, batch, sizes),
    ]
    if total is not None and training.samples is not None:
        because = (
            f"{show_count(training.samples)} samples / {show_count(batch)} a step x "
            f"{show_seconds(step)} = {show_seconds(total)}; "
            f"{show_seconds(training.finish_within)} allowed"
        )
        days = within("training_days", total / DAY_S, "days", STEP_SPREAD, because, ARITHMETIC)
        quantities.append(days)
    return TableTraining(
        shards=shards,
        time=time,
        step_s=step,
        lookups=work.lookups,
        distinct_rows=work.distinct_rows,
        gathered=gather_bytes(work.lookups, work.row_bytes),
        read_bytes_per_s=work.sample_bytes / step,
        total_s=total,
        quantities=tuple(quantities),
    )


def _work(workload: Workload, facts: Facts, sizes: TableSizes, batch: float) -> StepWork:
    training, tables = workload.training, workload.tables
    assert training is not None
    assert tables is not None
    lookups = batch * tables.lookups_per_sample
    vectors = max(1.0, tables.lookups_per_sample / facts.value("ids_per_pooled_vector"))
    dense = dense_parameters(workload, facts)
    return StepWork(
        lookups=lookups,
        distinct_rows=expected_distinct(tables.rows, lookups, tables.zipf_exponent),
        row_bytes=sizes.row_bytes,
        state_row_bytes=sizes.state_row_bytes,
        exchanged_bytes=batch * vectors * sizes.row_bytes,
        dense_flops=6.0 * dense * batch,
        dense_gradient_bytes=dense * DTYPE_BYTES[training.precision],
        sample_bytes=batch * (training.bytes_per_sample or 0.0),
    )


def _rates(workload: Workload, machine: Machine, facts: Facts) -> StepRates:
    assert workload.training is not None
    decode = machine.cores * facts.value("log_decode_bytes_per_s_per_core")
    read = min(machine.network_bytes_per_s, machine.disk_bandwidth_bytes_per_s, decode)
    peak = machine.flops_per_s(workload.training.precision)
    reached = facts.value("table_gather_efficiency")
    return StepRates(
        gather_bytes_per_s=machine.unit_bandwidth_bytes_per_s * reached,
        flops_per_s=peak * facts.value("ranker_utilisation"),
        read_bytes_per_s=read / machine.units,
        fabric=fabric_of(machine, facts),
        overhead_s=facts.value("recommender_step_overhead_s"),
    )


def _enough_shards(
    workload: Workload,
    machine: Machine,
    sizes: TableSizes,
    work: StepWork,
    rates: StepRates,
    batch: float,
) -> float:
    """The fewest accelerators that hold the tables and get through the samples in time.

    Whole machines once more than one accelerator is needed, doubled until the job is in time;
    a stated fleet is taken as it is.
    """
    training = workload.training
    assert training is not None
    units = float(machine.units)
    shards = sizes.num_shards
    if shards > 1.0:
        shards = units * -(-shards // units)
    if workload.fleet.count is not None:
        shards = max(shards, workload.fleet.count * units)
    if training.samples is None:
        return shards
    steps = training.samples / batch
    found, best = shards, steps * step_time(work, rates, shards).total_s
    for _ in range(MOST_DOUBLINGS):
        if best <= training.finish_within or workload.fleet.count is not None:
            break
        found = max(units, found * 2.0) if found > 1.0 else units
        best = min(best, steps * step_time(work, rates, found).total_s)
    if best > training.finish_within:
        raise _too_late(workload, machine, found, best)
    return found


def _too_late(
    workload: Workload, machine: Machine, shards: float, seconds: float
) -> InfeasibleError:
    training = workload.training
    assert training is not None
    assert training.samples is not None
    return InfeasibleError(
        f"training time: {show_count(training.samples)} samples take {show_seconds(seconds)} on "
        f"{show_count(shards)} accelerators of {machine.name}, "
        f"{show_seconds(training.finish_within)} allowed",
        where="training.finish_within",
        hint="a larger global_batch, more machines, fewer samples or more time",
    )


def _touched(tables: Tables, batch: float, work: StepWork) -> list[Quantity]:
    lookups = f"{show_count(batch)} samples x {show_count(tables.lookups_per_sample)} look-ups"
    zipf = f"Zipf with exponent {tables.zipf_exponent:g} over {show_count(tables.rows)} rows"
    distinct, row = work.distinct_rows, show(work.row_bytes, "B")
    gathered = gather_bytes(work.lookups, work.row_bytes)
    return [
        exact(
            "rows_touched_per_step",
            work.lookups,
            "",
            f"{lookups} = {show_count(work.lookups)}",
            ARITHMETIC,
        ),
        within(
            "unique_rows_per_step",
            distinct,
            "",
            1.15,
            f"sum over rows of 1 - (1 - p)^{show_count(work.lookups)}, {zipf}: "
            f"{show_count(distinct)} distinct rows",
            "Johnson and Kotz 1977, section 3.2; the exponent is the workload's",
        ),
        exact(
            "gather_bytes_per_step",
            gathered,
            "B",
            f"{show_count(work.lookups)} rows touched x {row} = {show(gathered, 'B')}",
            ARITHMETIC,
        ),
        within(
            "unique_gather_bytes_per_step",
            gather_bytes(distinct, work.row_bytes),
            "B",
            1.15,
            f"{show_count(distinct)} distinct rows x {row}, if each is fetched once",
            ARITHMETIC,
        ),
    ]


def _timed(
    work: StepWork, time: StepTime, shards: float, batch: float, sizes: TableSizes
) -> list[Quantity]:
    step = time.total_s
    exchange = (
        f"{show(work.exchanged_bytes / shards, 'B')} of pooled vectors a shard, to "
        f"{show_count(shards)} shards, forward and back"
    )
    stages = (
        f"gather and update {show_seconds(time.gather_s)} + dense {show_seconds(time.dense_s)} + "
        f"exchange {show_seconds(time.exchange_s)} + gradients "
        f"{show_seconds(time.gradient_sum_s)} + overhead {show_seconds(time.overhead_s)}; "
        f"reading samples {show_seconds(time.read_s)} behind it"
    )
    why = (
        f"{show_count(sizes.num_shards)} accelerators hold the tables; {show_count(shards)} in "
        "whole machines get through the samples in time"
    )
    rate = f"{show_count(batch)} samples / {show_seconds(step)}"
    source = "Naumov et al. 2019; Mudigere et al. 2022; rates from facts"
    return [
        within("num_trainers", shards, "", 1.0 if shards == 1.0 else 2.0, why, ARITHMETIC),
        within("all_to_all_s", time.exchange_s, "s", 2.0, exchange, "Thakur et al. 2005"),
        within("step_s", step, "s", STEP_SPREAD, stages, source),
        within("samples_per_s", batch / step, "/s", STEP_SPREAD, rate, ARITHMETIC),
    ]
