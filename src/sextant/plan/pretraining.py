"""The training job's part of a plan: a layout that fits, a step, the weeks, and the failures."""

from __future__ import annotations

from sextant.axes import Axis
from sextant.errors import InfeasibleError
from sextant.facts import Facts, Machine
from sextant.laws.layouts import USABLE_MEMORY
from sextant.laws.machine import accelerator_of, constants_of, spread_of
from sextant.laws.memory import MemoryBreakdown, memory_per_gpu
from sextant.laws.shape import TransformerShape
from sextant.laws.step import StepBreakdown, step_time
from sextant.plan.ceilings import custody_binds
from sextant.plan.demand import trained_model, training_flops
from sextant.plan.islands import plan_islands
from sextant.plan.job_layout import Choice, choose_layout
from sextant.plan.long_run import LongRun, run_long
from sextant.plan.part import Bill, Part, exact, within
from sextant.plan.quantity import Budget, Hardest, Quantity, Stage, Striking
from sextant.plan.shapes import shape_of
from sextant.units import show, show_count, show_seconds
from sextant.workload import Training, Workload

DAY_S = 86400.0
_STEP_LAW = "laws/step.py; error on published tables in docs/planner-accuracy.md"


def plan_pretraining(workload: Workload, machine: Machine, facts: Facts) -> Part | None:
    """Sizes a training job of one model; None without `[training]` of a transformer.

    Raises:
        InfeasibleError: the state does not fit the accelerators given, or they cannot finish in
            time.
    """
    training, model = workload.training, trained_model(workload)
    if training is None or model is None or model.kind == "ranker" or custody_binds(workload):
        return None
    if not (training.tokens or training.samples) or not machine.accelerators:
        return None
    shape = shape_of(model)
    flops = training_flops(workload)
    choice = choose_layout(workload, training, shape, flops, machine, facts)
    constants, spread = constants_of(facts.training), spread_of(facts.training)
    accelerator = accelerator_of(machine, facts.training)
    precision = training.precision
    step = step_time(
        shape, choice.layout, accelerator, precision, constants=constants, spread=spread
    )
    memory = memory_per_gpu(
        shape, choice.layout, accelerator, precision, constants=constants, spread=spread
    )
    islands = plan_islands(workload, training, shape, step, choice)
    long = run_long(choice, machine, facts, islands.step_factor * step.total_s * choice.steps)
    _check_time(long, training, choice)
    return Part(
        name="pretraining",
        quantities=(
            *_sizes(choice, memory.total_bytes, memory.low_bytes, memory.high_bytes, shape),
            *_times(step, choice, flops, machine, training),
            *long.quantities,
            *islands.quantities,
        ),
        layout={**choice.described, "memory_bytes": _parts(memory), **islands.layout},
        striking=islands.striking or _striking(long, choice),
        hardest=islands.hardest or _hardest(long, choice),
        busy={
            Axis.TRAINING: step.compute_s + step.optimizer_s + step.overhead_s,
            Axis.MODEL: step.tensor_s + step.context_s + step.expert_s + step.pipeline_s,
            Axis.DATA: 0.002 * step.total_s,
        },
        waiting={
            Axis.MODEL: step.bubble_s,
            Axis.COORDINATION: step.data_s + (1.0 - long.goodput) * step.total_s,
        },
        bills=(
            Bill(
                what=f"{choice.gpus:,} accelerators for {long.days:.3g} days",
                machine=machine.name,
                count=choice.gpus / machine.units,
                usd_per_hour=machine.price_usd_per_hour,
                hours=long.days * 24.0,
            ),
        ),
        budget=_budget(step),
        risks=(*_memory_risk(memory, machine), *long.risks, *islands.risks),
        costs=_costs(step, choice, long),
    )


def _parts(memory: MemoryBreakdown) -> dict[str, float]:
    names = ("parameters", "gradients", "optimizer", "activations", "working", "runtime")
    return {name: getattr(memory, f"{name}_bytes") for name in names}


def _memory_risk(memory: MemoryBreakdown, machine: Machine) -> tuple[str, ...]:
    usable = machine.unit_memory_bytes * USABLE_MEMORY
    if memory.high_bytes <= usable:
        return ()
    return (
        f"the layout may run out of memory: {memory.total_bytes / 1e9:.1f} GB "
        f"({memory.low_bytes / 1e9:.1f} to {memory.high_bytes / 1e9:.1f}) of "
        f"{usable / 1e9:.1f}; leaner ones are on the front",
    )


def _check_time(long: LongRun, training: Training, choice: Choice) -> None:
    if long.days * DAY_S > training.finish_within * 1.0001:
        raise InfeasibleError(
            f"compute: {choice.gpus:,} accelerators need {long.days:.3g} days and may take "
            f"{show_seconds(training.finish_within)}",
            where="training.finish_within",
            hint="more machines in [fleet] count, fewer tokens, or more time",
        )


def _sizes(
    choice: Choice, total: float, low: float, high: float, shape: TransformerShape
) -> list[Quantity]:
    because = f"{choice.layout.describe()}: weights, gradients, optimizer, activations, runtime"
    return [
        Quantity(
            name="memory_bytes_per_gpu",
            value=total,
            unit="B",
            low=low,
            high=high,
            because=because,
            source="laws/memory.py; error on published tables in docs/planner-accuracy.md",
        ),
        exact("num_accelerators", choice.gpus, "", choice.because, "layout search"),
        exact(
            "trained_parameters",
            float(shape.parameters),
            "",
            f"{shape.layers} layers of {shape.hidden}",
            "arithmetic",
        ),
    ]


def _times(
    step: StepBreakdown, choice: Choice, flops: float, machine: Machine, training: Training
) -> list[Quantity]:
    peak = machine.flops_per_s(training.precision)
    each = flops / choice.steps / choice.gpus
    mfu = each / step.total_s / peak
    parts = (
        f"compute {show_seconds(step.compute_s)} + exposed communication "
        f"{show_seconds(step.communication_s)} + bubble {show_seconds(step.bubble_s)} + optimizer "
        f"and the rest {show_seconds(step.optimizer_s + step.overhead_s)}"
    )
    factor = step.high_s / step.total_s
    tokens = choice.tokens_per_step / step.total_s
    return [
        Quantity(
            name="step_s",
            value=step.total_s,
            unit="s",
            low=step.low_s,
            high=step.high_s,
            because=parts,
            source=_STEP_LAW,
        ),
        within(
            "tokens_per_s",
            tokens,
            "/s",
            factor,
            f"{show_count(choice.tokens_per_step)} tokens a step",
            _STEP_LAW,
        ),
        within(
            "mfu",
            mfu,
            "fraction",
            factor,
            f"{show(each, 'FLOP')} a step and accelerator over {show(peak, 'FLOP/s')}",
            _STEP_LAW,
        ),
        exact(
            "num_steps",
            choice.steps,
            "",
            f"{show_count(choice.steps * choice.tokens_per_step)} tokens in steps",
            "arithmetic",
        ),
    ]


def _striking(long: LongRun, choice: Choice) -> Striking:
    return Striking(
        number=f"a failure every {show_seconds(long.mtbf_s)}",
        because=f"{choice.gpus:,} accelerators for {long.days:.3g} days: {long.mtbf_because}",
    )


def _hardest(long: LongRun, choice: Choice) -> Hardest:
    return Hardest(
        what="keeping thousands of accelerators in step through their failures"
        if choice.gpus >= 1000
        else "keeping the accelerators busy while they exchange what they hold apart",
        axis=Axis.COORDINATION,
        because=f"one of {choice.gpus:,} accelerators stops all: a failure every "
        f"{show_seconds(long.mtbf_s)}, goodput {long.goodput:.1%}",
    )


def _budget(step: StepBreakdown) -> Budget:
    stages = (
        Stage(name="compute", axis=Axis.TRAINING, seconds=step.compute_s),
        Stage(
            name="tensor, context, expert",
            axis=Axis.MODEL,
            seconds=step.tensor_s + step.context_s + step.expert_s,
        ),
        Stage(name="pipeline and bubble", axis=Axis.MODEL, seconds=step.pipeline_s + step.bubble_s),
        Stage(name="gradients", axis=Axis.COORDINATION, seconds=step.data_s),
        Stage(
            name="optimizer and the rest",
            axis=Axis.TRAINING,
            seconds=step.optimizer_s + step.overhead_s,
        ),
    )
    return Budget(allowed_s=step.total_s, stages=stages, what="one step")


def _costs(step: StepBreakdown, choice: Choice, long: LongRun) -> dict[Axis, str]:
    def share(seconds: float) -> str:
        return f"{seconds / step.total_s:.1%} of a step"

    split = step.tensor_s + step.context_s + step.expert_s + step.pipeline_s + step.bubble_s
    return {
        Axis.MODEL: f"{share(split)} for exchange and bubbles ({choice.layout.describe()})",
        Axis.TRAINING: f"{share(step.data_s)} for gradients that computing does not hide",
        Axis.DATA: f"{show(choice.read_bytes_per_s, 'B/s')} read by all ranks together",
        Axis.COORDINATION: f"{1 - long.goodput:.1%} of the time lost to failures and checkpoints",
    }
