"""Ceilings: the limits of one machine that a workload exceeds, one function a limit.

Each ratio is demand over what one machine (or one accelerator, or one replica) has, and each
grows with the facts of its demand. The rules are the design's; `coordinates` reads them.
"""

from __future__ import annotations

from collections.abc import Iterator

from sextant.axes import Axis
from sextant.facts import Facts, Machine
from sextant.plan.demand import (
    parameters,
    request_seconds,
    sample_bytes,
    state_bytes,
    trained_model,
    training_flops,
)
from sextant.plan.quantity import Ceiling
from sextant.units import show, show_count, show_ratio, show_seconds
from sextant.workload import DTYPE_BYTES, OPTIMIZER_STATES, Workload


def find_ceilings(workload: Workload, machine: Machine, facts: Facts) -> list[Ceiling]:
    """Every limit that the workload has to do with, the most binding first.

    Custody, then latency and autonomy, come before the rest: no number of machines lifts them.
    """
    found: list[Ceiling] = []
    for rule in (_data, _training, _model, _inference, _intelligence):
        found += rule(workload, machine, facts)
    return sorted(found, key=lambda c: (_NOT_LIFTED.get(c.name, 2) if c.binds else 3, -c.ratio))


_NOT_LIFTED = {"custody": 0, "latency": 1, "autonomy": 1}


def _ceiling(
    name: str, axis: Axis, demand: float, capacity: float, unit: str, what: str, limit: str
) -> Ceiling:
    ratio = show_ratio(demand / capacity)
    because = f"{what} = {show(demand, unit)}; {limit} {show(capacity, unit)}: {ratio}"
    return Ceiling(
        name=name, axis=axis, demand=demand, capacity=capacity, unit=unit, because=because
    )


def custody_binds(workload: Workload) -> bool:
    """Whether data may not leave the sites that hold it."""
    sites_keep = workload.sites is not None and not workload.sites.may_export
    return sites_keep or (workload.corpus is not None and not workload.corpus.may_leave_site)


def _data(workload: Workload, machine: Machine, _facts: Facts) -> Iterator[Ceiling]:
    corpus, index = workload.corpus, workload.index
    if index is not None:
        raw = workload.num_vectors * index.dims * DTYPE_BYTES[index.dtype]
        what = (
            f"{show_count(workload.num_vectors)} vectors x {index.dims} dims x "
            f"{DTYPE_BYTES[index.dtype]:g} B"
        )
        yield _ceiling("data", Axis.DATA, raw, machine.memory_bytes, "B", what, "memory")
    if corpus is not None:
        cold = corpus.records * corpus.bytes_per_record
        what = f"{show_count(corpus.records)} records x {show(corpus.bytes_per_record, 'B')}"
        yield _ceiling("data", Axis.DATA, cold, machine.disk_bytes, "B", what, "disk")
        if corpus.read_within is not None:
            what += f" in {show_seconds(corpus.read_within)}"
            yield _ingest(cold / corpus.read_within, what, machine)
    if workload.streams is not None:
        streams = workload.streams
        what = f"{show_count(streams.count)} streams x {show(streams.bytes_per_s, 'B/s')}"
        yield _ingest(streams.count * streams.bytes_per_s, what, machine)


def _ingest(demand: float, what: str, machine: Machine) -> Ceiling:
    capacity = min(machine.network_bytes_per_s, machine.disk_bandwidth_bytes_per_s)
    return _ceiling("data", Axis.DATA, demand, capacity, "B/s", what, "ingest")


def _training(workload: Workload, machine: Machine, facts: Facts) -> Iterator[Ceiling]:
    training, sites = workload.training, workload.sites
    if sites is not None and sites.count > 1 and custody_binds(workload):
        because = (
            f"{sites.count} sites train apart, since no record may leave the one that holds it; "
            f"one machine may see one site: {show_ratio(sites.count)}"
        )
        yield Ceiling(
            name="custody",
            axis=Axis.TRAINING,
            demand=float(sites.count),
            capacity=1.0,
            unit="sites",
            because=because,
        )
    if training is None:
        return
    flops = training_flops(workload)
    rate = machine.units * machine.flops_per_s(training.precision)
    usable = facts.value("training_utilisation")
    within = training.finish_within
    if flops > 0:
        what = f"{show(flops, 'FLOP')} of training in {show_seconds(within)}"
        limit = f"{machine.units} x {show(machine.flops_per_s(training.precision), 'FLOP/s')} at"
        yield _ceiling(
            "compute",
            Axis.TRAINING,
            flops / within,
            rate * usable,
            "FLOP/s",
            what,
            f"{limit} {usable:.0%} =",
        )
    if (volume := sample_bytes(workload)) > 0:
        decode = machine.cores * facts.value("log_decode_bytes_per_s_per_core")
        capacity = min(machine.network_bytes_per_s, machine.disk_bandwidth_bytes_per_s, decode)
        what = f"{show(volume, 'B')} of samples in {show_seconds(within)}"
        yield _ceiling(
            "compute", Axis.TRAINING, volume / within, capacity, "B/s", what, "one machine reads"
        )


def _model(workload: Workload, machine: Machine, _facts: Facts) -> Iterator[Ceiling]:
    memory = machine.unit_memory_bytes
    holder = "one accelerator holds" if machine.accelerators else "one machine holds"
    trained = trained_model(workload)
    for name, model in workload.model.items():
        count = parameters(model)
        each = state_bytes(workload) if model is trained else DTYPE_BYTES[model.dtype]
        what = f"{show_count(count)} parameters of the {name} x {each:g} B"
        if model is trained:
            what += " (weights, gradients, optimizer)"
        yield _ceiling("model", Axis.MODEL, count * each, memory, "B", what, holder)
    if (tables := workload.tables) is not None:
        each = DTYPE_BYTES[tables.dtype]
        states = OPTIMIZER_STATES[tables.optimizer] if workload.training else 0.0
        row = tables.dims * (each + 4.0 * states)
        row += 4.0 if workload.training and tables.optimizer == "rowwise_adagrad" else 0.0
        what = f"{show_count(tables.rows)} rows x {show(row, 'B')} (optimizer state included)"
        yield _ceiling("model", Axis.MODEL, tables.rows * row, memory, "B", what, holder)


def _inference(workload: Workload, machine: Machine, facts: Facts) -> Iterator[Ceiling]:
    agents, serving, streams = workload.agents, workload.serving, workload.streams
    if serving is not None and (each := request_seconds(workload, machine, facts)) > 0:
        what = f"{show_count(serving.requests_per_s)} requests/s"
        yield _ceiling(
            "throughput",
            Axis.INFERENCE,
            serving.requests_per_s,
            1.0 / each,
            "/s",
            what,
            "one replica (a machine) serves",
        )
    if streams is not None:
        busy = streams.seconds_per_second + sum(stage.seconds for stage in streams.stages)
        what = f"{show_count(streams.count)} streams x {show(busy, 's')} a second"
        yield _ceiling(
            "throughput",
            Axis.INFERENCE,
            streams.count * busy,
            float(machine.units),
            "accelerators",
            what,
            "one machine has",
        )
    at_agents = agents is not None and agents.perceive_at == "agent" and agents.control_period
    if agents is not None and agents.count > 1 and at_agents:
        what = "perception where each of the agents is"
        yield _ceiling(
            "throughput",
            Axis.INFERENCE,
            float(agents.count),
            1.0,
            "places",
            what,
            "one machine is in",
        )


def _intelligence(workload: Workload, _machine: Machine, facts: Facts) -> Iterator[Ceiling]:
    agents = workload.agents
    if agents is None or agents.count < 2:
        return
    axis = Axis.INTELLIGENCE
    if agents.control_period is not None:
        stated = "round_trip" in agents.model_fields_set
        trip = agents.round_trip if stated else facts.value("cloud_round_trip_s")
        centre = trip + agents.perceive_time + agents.decide_time
        what = (
            f"{show_seconds(trip)} there and back + "
            f"{show_seconds(agents.perceive_time)} to perceive + "
            f"{show_seconds(agents.decide_time)} to decide at a centre"
        )
        period = agents.control_period
        yield _ceiling("latency", axis, centre, period, "s", what, "a decision is due every")
    if (hold := agents.tolerable_hold or agents.control_period) is not None:
        outage = agents.longest_outage
        if outage is None and agents.link_may_fail:
            outage = facts.value("assumed_outage_s")
        if outage is not None:
            what = "the link's longest outage"
            yield _ceiling("autonomy", axis, outage, hold, "s", what, "agents may safely hold for")
    if agents.decide_apart:
        what = "agents that decide apart, by the workload's own word"
        yield _ceiling(
            "autonomy", axis, float(agents.count), 1.0, "deciders", what, "one centre is"
        )
