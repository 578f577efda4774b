"""What a rehearsal of training should measure on this machine, from unit costs of its pieces.

Nothing here has seen a run of the trainer: inputs are the scaled shape, times of single pieces
at the shape's sizes, and the probe's bandwidths. The names are those that it measures under.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sextant.axes import Axis
from sextant.errors import InputError
from sextant.facts import Machine
from sextant.laws.shape import TransformerShape
from sextant.plan.part import exact, within
from sextant.plan.quantity import Lean, Quantity
from sextant.plan.training_memory import RankShape, rank_bytes
from sextant.plan.training_step import StepCosts, StepSeconds, StepShape, step_seconds
from sextant.units import show, show_seconds

_LAW = "unit costs of single pieces, measured before the run (plan/training_step.py)"
_LOOK_S = 0.05
_TURN_S = 0.005
"""That a thread keeps the interpreter while another waits. Source: sys.getswitchinterval."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingShape:
    """A scaled training: what runs, in plain numbers.

    Attributes:
        model: its sizes.
        step: how a step is split.
        ranks: that share out a batch.
        batch: sequences of a step over all ranks.
        micro_batch: sequences at once on one rank.
        steps: of the run.
        saves: checkpoints, of which the last is waited for.
    """

    model: TransformerShape
    step: StepShape
    ranks: int
    batch: int
    micro_batch: int
    steps: int
    saves: int

    @property
    def tokens(self) -> float:
        """Of one step."""
        return float(self.batch * self.model.sequence)

    @property
    def micro_batches(self) -> int:
        """Of one rank in one step."""
        return self.batch // self.ranks // self.micro_batch


@dataclass(frozen=True, kw_only=True, slots=True)
class RehearsalCosts:
    """What is measured before a rehearsal: pieces of a step, and a process that imports torch."""

    step: StepCosts
    start_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seconds:
    """Of one step, by part, and of what surrounds the steps."""

    part: StepSeconds
    save: float
    ready: float

    @property
    def step(self) -> float:
        return self.part.total


def predict_training(
    shape: TrainingShape, cost: RehearsalCosts, here: Machine
) -> tuple[tuple[Quantity, ...], Lean]:
    """Every quantity that the rehearsal measures, with an 80% interval, and the lean.

    Raises:
        InputError: this machine has not been probed, or the model has experts.
    """
    try:
        took = _seconds(shape, cost, here.measured)
    except KeyError as missing:
        what = f"the probe of this machine lacks {missing.args[0]}"
        raise InputError(what, hint="`sextant probe`") from None
    return (*_bytes(shape), *_times(shape, took), *_rates(shape, took)), _lean(took)


def _seconds(shape: TrainingShape, cost: RehearsalCosts, probed: Mapping[str, float]) -> _Seconds:
    return _Seconds(
        part=step_seconds(shape.step, cost.step),
        # Copied out before training goes on, read and written; then the thread that writes it
        # begins, and keeps the interpreter for its turn.
        save=2.0 * 12.0 * shape.model.parameters / probed["memory_read_bytes_per_s"] + _TURN_S,
        ready=cost.start_s + 2.0 * _LOOK_S,
    )


def _bytes(shape: TrainingShape) -> list[Quantity]:
    held = rank_bytes(
        shape.model,
        RankShape(micro_batch=shape.micro_batch, micro_batches=shape.micro_batches),
    )
    numbers = shape.model.parameters
    source = "plan/training_memory.py"
    rows = (
        ("parameters_bytes", held.parameters, 1.01, f"{numbers:,} numbers x 4 B"),
        ("gradients_bytes", held.gradients, 1.01, f"{numbers:,} numbers x 4 B"),
        ("optimizer_bytes", held.optimizer, 1.01, f"two moments: {numbers:,} x 8 B"),
        ("activations_bytes", held.activations, 1.1, "what one micro-batch keeps for backward"),
    )
    found = [within(name, value, "B", off, why, source) for name, value, off, why in rows]
    whole = 12.0 * numbers
    why = f"weights and moments, once: {show(whole, 'B')}, and their names"
    return [*found, within("checkpoint_bytes", whole, "B", 1.05, why, "arithmetic")]


def _times(shape: TrainingShape, took: _Seconds) -> list[Quantity]:
    each = f"{shape.micro_batches} micro-batches of {shape.model.layers:g} layers and a head"
    rows = (
        ("compute_s", took.part.compute, 1.35, f"{each}, and AdamW", _LAW),
        (
            "exposed_data_parallel_s",
            took.part.data_parallel,
            2.5,
            f"gradients of {show(4.0 * shape.model.parameters, 'B')} summed over the ranks, on "
            "the cores that compute: nothing is hidden",
            _LAW,
        ),
        ("data_s", took.part.data, 2.5, "places in the order, and copies", _LAW),
        ("step_s", took.step, 1.4, f"compute {show_seconds(took.part.compute)} + exchange", _LAW),
        (
            "checkpoint_stall_s",
            took.save,
            3.0,
            "a copy of the state in memory, and a turn of the thread that writes it",
            _LAW,
        ),
        ("ready_s", took.ready, 2.0, "a process with its imports, until its first step", _LAW),
    )
    return [within(name, value, "s", off, why, source) for name, value, off, why, source in rows]


def _rates(shape: TrainingShape, took: _Seconds) -> list[Quantity]:
    rate = shape.tokens / took.step
    work = shape.steps * took.step
    good = work / (work + took.ready + shape.saves * took.save)
    first = math.log(shape.model.vocab)
    return [
        within("tokens_per_s", rate, "/s", 1.4, f"{shape.tokens:,.0f} tokens a step", _LAW),
        Quantity(
            name="goodput",
            value=good,
            unit="fraction",
            low=work / (work + 2.0 * (took.ready + shape.saves * took.save)),
            high=min(1.0, work / (work + 0.5 * (took.ready + shape.saves * took.save))),
            because=f"{shape.steps} steps of {show_seconds(took.step)} between a start and "
            f"{shape.saves} checkpoints",
            source=_LAW,
        ),
        within("first_loss", first, "nats", 1.03, "a model that knows nothing: ln vocab", "ln V"),
        exact("bubble_s", 0.0, "s", "one stage: nothing waits for another", "laws/pipeline.py"),
    ]


def _lean(took: _Seconds) -> Lean:
    busy = {Axis.TRAINING: took.part.compute, Axis.DATA: took.part.data}
    whole = sum(busy.values())
    return Lean(
        busy={axis: seconds / whole for axis, seconds in busy.items()},
        waiting={Axis.COORDINATION: 1.0} if took.part.data_parallel else {},
    )
