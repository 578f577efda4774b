"""Plans live streams: ingest, frames looked at as they come, look-ups, verdicts."""

from __future__ import annotations

import math

from sextant.axes import Axis
from sextant.facts import Facts, Machine
from sextant.plan.part import Bill, Part, exact, within
from sextant.plan.quantity import Budget, Hardest, Quantity, Stage, Striking
from sextant.plan.question import Question, find_question
from sextant.plan.watch import Watch, find_watch
from sextant.units import show, show_count, show_seconds
from sextant.workload import Workload


def plan_streams(workload: Workload, machine: Machine, facts: Facts) -> Part | None:
    """The part of `[streams]`; None without them.

    The deadline of `[serving]` is for the flag: buffer, decode, embed, look-up and the verdict's
    first token; the buffer is shortened to meet it. The look-ups' servers are billed by
    `retrieval` and the judge's by `serving`.

    Raises:
        InfeasibleError: names the tightest constraint.
    """
    if workload.streams is None:
        return None
    question = find_question(workload, machine, facts)
    watch = find_watch(workload, machine, facts, question)
    numbers = _numbers(workload, watch, facts)
    deadline = workload.serving.deadline if workload.serving else None
    budget = None
    if deadline is not None:
        what = "from a frame's arrival to its flag, at p99"
        budget = Budget(allowed_s=deadline, stages=watch.tail, what=what)
    ingest = watch.ingest_bytes_per_s / machine.network_bytes_per_s
    work = workload.streams.count * watch.busy_s / machine.units
    return Part(
        name="streams",
        quantities=tuple(numbers),
        layout={
            "machines": watch.num_machines,
            "streams_per_machine": math.floor(watch.streams_per_machine),
            "bound_by": watch.bound,
            "assignment": "a stream to a machine by hash of its id, moved when a machine leaves",
        },
        striking=_striking(workload, watch),
        hardest=_hardest(question, deadline),
        busy={Axis.DATA: ingest, Axis.INFERENCE: work},
        waiting={Axis.COORDINATION: workload.streams.count * _idle_s(watch) / machine.units},
        bills=(
            Bill(
                what="stream machines",
                machine=machine.name,
                count=float(watch.num_machines),
                usd_per_hour=machine.price_usd_per_hour,
            ),
        ),
        budget=budget,
        risks=_risks(watch),
        costs={
            Axis.DATA: f"{show(watch.ingest_bytes_per_s, 'B/s')} of ingest over "
            f"{show_count(watch.num_machines)} machines",
            Axis.INFERENCE: f"{show_count(workload.streams.count * watch.busy_s)} accelerators "
            f"always busy",
        },
    )


def _idle_s(watch: Watch) -> float:
    return sum(s.seconds for s in watch.stages if s.axis is Axis.COORDINATION) * watch.busy_s


def _numbers(workload: Workload, watch: Watch, facts: Facts) -> list[Quantity]:
    streams = workload.streams
    assert streams is not None
    count = show_count(streams.count)
    source = "sum of the stages; Allen 1990; order statistics"
    found = [
        exact(
            "ingest_bytes_per_s",
            watch.ingest_bytes_per_s,
            "B/s",
            f"{count} streams x {show(streams.bytes_per_s, 'B/s')}",
            "arithmetic",
        ),
        within(
            "streams_per_machine",
            watch.streams_per_machine,
            "",
            1.3,
            f"the {watch.bound} bind at a load of {watch.load:.0%}: "
            f"{show_seconds(watch.busy_s)} of accelerator a second of stream",
            "facts: stream_load",
        ),
        within(
            "num_stream_machines",
            float(watch.num_machines),
            "",
            1.3,
            f"{count} streams / {watch.streams_per_machine:.4g} a machine",
            "arithmetic",
        ),
        within("flag_p50_s", watch.p50_s, "s", 1.5, _say(watch.stages), source),
        within("flag_p99_s", watch.p99_s, "s", 1.55, _say(watch.tail), source),
    ]
    if watch.stages[0].seconds < facts.value("stream_buffer_s"):
        found.append(
            exact(
                "buffer_s",
                2.0 * watch.stages[0].seconds,
                "s",
                "what the deadline leaves after the other stages at p99",
                "arithmetic",
            )
        )
    return found


def _say(stages: tuple[Stage, ...]) -> str:
    return " + ".join(f"{stage.name} {show_seconds(stage.seconds)}" for stage in stages)


def _striking(workload: Workload, watch: Watch) -> Striking:
    assert workload.streams is not None
    busy = workload.streams.count * watch.busy_s
    return Striking(
        number=f"{show_count(busy)} accelerator-seconds every second",
        because=f"{show_count(workload.streams.count)} streams x {show_seconds(watch.busy_s)} of "
        f"accelerator for each second of stream",
    )


def _hardest(question: Question | None, deadline_s: float | None) -> Hardest:
    under = f" within {show_seconds(deadline_s)}" if deadline_s is not None else ""
    if question is None:
        return Hardest(
            what=f"keeping every stream{under}: it cannot be asked to wait",
            axis=Axis.COORDINATION,
            because="what arrives while a machine is down is lost, so streams must move at once",
        )
    look = question.lookup
    return Hardest(
        what=f"the merge under a deadline: a verdict{under} from whatever shards have answered",
        axis=Axis.COORDINATION,
        because=f"{show_count(look.lookups_per_s)} look-ups/s, each merged from "
        f"{show_count(look.chosen.num_shards)} shards: the slowest takes "
        f"{show_seconds(look.fan_out_p99_s)} at p99, one alone "
        f"{show_seconds(look.chosen.shard_s)}",
    )


def _risks(watch: Watch) -> tuple[str, ...]:
    found = [
        f"a machine that fails leaves {math.floor(watch.streams_per_machine):,} streams unwatched "
        f"until they are moved"
    ]
    if watch.num_machines == 1:
        found.append("one stream machine is a single point of failure")
    return tuple(found)
