"""Live streams over machines, and the way of one flag, stage by stage."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sextant.axes import Axis
from sextant.errors import InfeasibleError
from sextant.facts import Facts, Machine
from sextant.laws import queueing
from sextant.plan.quantity import Stage
from sextant.plan.question import Question
from sextant.units import show, show_count
from sextant.workload import Workload


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """Streams over machines, and one flag's way: stages at the median and at p99."""

    ingest_bytes_per_s: float
    busy_s: float
    """Accelerator seconds that one second of one stream takes."""
    streams_per_machine: float
    num_machines: int
    bound: str
    load: float
    stages: tuple[Stage, ...]
    tail: tuple[Stage, ...]

    @property
    def p50_s(self) -> float:
        """Sum of the stages' medians."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def p99_s(self) -> float:
        """Sum of the stages' p99, an upper bound on the sum's."""
        return sum(stage.seconds for stage in self.tail)


def find_watch(
    workload: Workload, machine: Machine, facts: Facts, question: Question | None
) -> Watch:
    """Machines for the streams' work and bytes, and a flag's stages within the deadline.

    Raises:
        InfeasibleError: too few machines, or a deadline shorter than the stages.
    """
    streams = workload.streams
    assert streams is not None
    load = facts.value("stream_load")
    busy = streams.seconds_per_second + sum(stage.seconds for stage in streams.stages)
    by_work = machine.units * load / busy
    by_bytes = machine.network_bytes_per_s * load / streams.bytes_per_s
    each = min(by_work, by_bytes)
    needed = max(1, math.ceil(streams.count / each))
    if workload.fleet.count is not None and needed > workload.fleet.count:
        raise InfeasibleError(
            f"{show_count(streams.count)} streams need {show_count(needed)} machines "
            f"({each:.3g} streams each), and the fleet has {workload.fleet.count}",
            where="fleet.count",
            hint="a larger fleet, or fewer looked-at frames (streams.seconds_per_second)",
        )
    work, tail = _work_stages(workload, machine, facts, load)
    after, after_tail = _look_stages(question)
    buffer_s = facts.value("stream_buffer_s")
    rest = sum(stage.seconds for stage in (*tail, *after_tail))
    if workload.serving is not None:
        room = workload.serving.deadline - rest
        if room <= 0.0:
            raise InfeasibleError(
                f"the deadline of {show(workload.serving.deadline, 's')} for a flag is shorter "
                f"than its stages without any buffer, {show(rest, 's')} at p99",
                where="serving.deadline",
                hint="allow more time, or a faster judge",
            )
        buffer_s = min(buffer_s, room / 2.0)
    middle = Stage(name="buffer frames", axis=Axis.COORDINATION, seconds=buffer_s)
    worst = Stage(name="buffer frames", axis=Axis.COORDINATION, seconds=2.0 * 0.99 * buffer_s)
    return Watch(
        ingest_bytes_per_s=streams.count * streams.bytes_per_s,
        busy_s=busy,
        streams_per_machine=each,
        num_machines=needed,
        bound="accelerators" if by_work <= by_bytes else "network",
        load=load,
        stages=(middle, *work, *after),
        tail=(worst, *tail, *after_tail),
    )


def _work_stages(
    workload: Workload, machine: Machine, facts: Facts, load: float
) -> tuple[list[Stage], list[Stage]]:
    """Decode, embed and stated stages of one second of stream, and a queue at the accelerators."""
    streams = workload.streams
    assert streams is not None
    decode = facts.value("stream_decode_share") * streams.seconds_per_second
    work = [
        Stage(name="decode", axis=Axis.DATA, seconds=decode),
        Stage(name="embed", axis=Axis.INFERENCE, seconds=streams.seconds_per_second - decode),
    ]
    work += [
        Stage(name=stage.name, axis=Axis.INFERENCE, seconds=stage.seconds)
        for stage in streams.stages
    ]
    service = sum(stage.seconds for stage in work)
    servers = float(machine.units)
    mean = queueing.mean_wait_s(servers, load, service, 1.0, 0.25)
    late = queueing.wait_quantile_s(servers, load, service, 1.0, 0.25)
    name = "wait for an accelerator"
    return (
        [Stage(name=name, axis=Axis.COORDINATION, seconds=mean), *work],
        [Stage(name=name, axis=Axis.COORDINATION, seconds=late), *work],
    )


def _look_stages(question: Question | None) -> tuple[list[Stage], list[Stage]]:
    """Look-up, merge and verdict at the median and at p99; nothing without an index."""
    if question is None:
        return [], []
    look = question.lookup
    median = [Stage(name="look up", axis=Axis.DATA, seconds=look.p50_s - look.merge_s)]
    tail = [Stage(name="look up", axis=Axis.DATA, seconds=look.p99_s - look.merge_s)]
    merge = Stage(name="merge", axis=Axis.COORDINATION, seconds=look.merge_s)
    if (answering := question.answering) is None:
        return [*median, merge], [*tail, merge]
    first = answering.replica.first_token_s
    name, axis = "verdict", Axis.INFERENCE
    soon = Stage(name=name, axis=axis, seconds=first + answering.wait_s)
    late = Stage(name=name, axis=axis, seconds=first + answering.wait_p99_s)
    return [*median, merge, soon], [*tail, merge, late]
