"""How many accelerators a training job takes, and the fastest layout that fits them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sextant.errors import InfeasibleError
from sextant.facts import Facts, Machine
from sextant.laws.layout import Layout
from sextant.laws.layouts import USABLE_MEMORY, Candidate, Search, search_layouts
from sextant.laws.machine import accelerator_of, constants_of, spread_of
from sextant.laws.shape import TransformerShape
from sextant.units import show_seconds
from sextant.workload import Training, Workload

MOST_ACCELERATORS = 1 << 20
_TOKENS_PER_STEP = 4e6
_BYTES_PER_TOKEN = 4.0
_MARGIN = 1.15
"""More accelerators than the bare arithmetic asks for: failures, checkpoints, a slower layout."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The layout that was chosen, and what the whole job comes to with it."""

    layout: Layout
    gpus: int
    because: str
    steps: float
    tokens_per_step: float
    step_s: float
    described: Mapping[str, object]

    @property
    def read_bytes_per_s(self) -> float:
        """Text that all ranks together read."""
        return self.tokens_per_step * _BYTES_PER_TOKEN / self.step_s


def choose_layout(
    workload: Workload,
    training: Training,
    shape: TransformerShape,
    flops: float,
    machine: Machine,
    facts: Facts,
) -> Choice:
    """Searches the layouts of the accelerators given, or of as many as the time asks for.

    Raises:
        InfeasibleError: none fits; the tightest constraint is named.
    """
    tokens = flops / 6.0 / max(1.0, shape.active_parameters)
    per_sequence = float(shape.sequence)
    batch = training.global_batch or _usual_batch(per_sequence)
    steps = max(1.0, tokens / (batch * per_sequence))
    gpus, because = _accelerators(workload, training, flops, machine, facts)
    # A batch that the ranks do not divide cannot be laid out; take the nearest that they do.
    gpus = _divisible(gpus, batch, machine)
    search = _search(training, shape, gpus, batch, machine, facts)
    if not search.best:
        raise _nothing_fits(search, shape, gpus, batch)
    best = search.best[0]
    return Choice(
        layout=best.layout,
        gpus=gpus,
        because=because,
        steps=steps,
        tokens_per_step=batch * per_sequence,
        step_s=best.step_s,
        described=_described(search, machine.unit_memory_bytes * USABLE_MEMORY),
    )


def _usual_batch(tokens_per_sequence: float) -> int:
    """Sequences of about four million tokens: a power of two, so that ranks divide it."""
    return 1 << max(0, round(math.log2(_TOKENS_PER_STEP / tokens_per_sequence)))


def _nothing_fits(
    search: Search, shape: TransformerShape, gpus: int, batch: int
) -> InfeasibleError:
    if search.tightest is not None and search.constraint:
        hint = f"{gpus:,} accelerators do not hold it: more machines, or a larger accelerator"
        return InfeasibleError(search.constraint, where="fleet.count", hint=hint)
    return InfeasibleError(
        f"divisibility: {gpus:,} accelerators cannot share out a batch of {batch:,} sequences, "
        f"{shape.layers} layers and {shape.heads} heads evenly",
        where="training.global_batch",
        hint="a global_batch (or a fleet.count) with more factors of two",
    )


def _accelerators(
    workload: Workload, training: Training, flops: float, machine: Machine, facts: Facts
) -> tuple[int, str]:
    if workload.fleet.count:
        gpus = min(workload.fleet.count * machine.units, MOST_ACCELERATORS)
        return gpus, f"{workload.fleet.count:,} machines of {machine.units}, as stated"
    rate = machine.flops_per_s(training.precision) * facts.value("training_utilisation")
    asked = flops / training.finish_within / rate * _MARGIN
    if asked > MOST_ACCELERATORS:
        raise InfeasibleError(
            f"compute: {asked:.3g} accelerators would be needed to finish in "
            f"{show_seconds(training.finish_within)}, more than any job has had",
            where="training.finish_within",
            hint="fewer tokens, a smaller model, or more time",
        )
    needed = max(1, math.ceil(asked))
    because = f"enough to finish in {show_seconds(training.finish_within)}, with 15% to spare"
    if needed <= machine.units:
        return 1 << (needed - 1).bit_length(), because
    nodes = math.ceil(needed / machine.units)
    # Whole powers of two (or three quarters of one) divide batches and heads.
    power = 1 << (nodes - 1).bit_length()
    nodes = 3 * power // 4 if power >= 4 and nodes <= 3 * power // 4 else power
    return nodes * machine.units, because


def _divisible(gpus: int, batch: int, machine: Machine) -> int:
    """The accelerators that can be used: no more than sequences times a full split of a model."""
    most = batch * machine.units * 64
    while gpus > most:
        gpus //= 2
    return max(1, gpus)


def _search(
    training: Training,
    shape: TransformerShape,
    gpus: int,
    batch: int,
    machine: Machine,
    facts: Facts,
) -> Search:
    recomputes: tuple[str, ...] = ("none", "selective", "full")
    if training.recompute != "auto":
        recomputes = (training.recompute,)
    return search_layouts(
        shape,
        gpus,
        accelerator_of(machine, facts.training),
        batch,
        training.precision,
        constants=constants_of(facts.training),
        spread=spread_of(facts.training),
        recomputes=recomputes,
    )


def _described(search: Search, usable_bytes: float) -> dict[str, object]:
    layout = search.best[0].layout
    degrees = {name: getattr(layout, name) for name in ("tp", "pp", "dp", "cp", "ep")}
    return {
        **degrees,
        "interleave": layout.interleave,
        "micro_batch": layout.micro_batch,
        "global_batch": layout.global_batch,
        "zero": layout.zero,
        "recompute": layout.recompute,
        "chosen": layout.describe(),
        "considered": search.considered,
        "feasible": search.feasible,
        "rejected": search.rejected,
        "usable_memory_bytes": usable_bytes,
        "runners_up": [_weighed(c, search) for c in search.best[1:4]],
        "pareto": [_weighed(c, search) for c in _front(search)],
    }


def _front(search: Search) -> Sequence[Candidate]:
    """A front of a dozen, evenly from the fastest to the leanest, with the chosen one in it."""
    front = search.pareto
    last = len(front) - 1
    most = min(len(front), 12)
    found = [front[round(place * last / max(1, most - 1))] for place in range(most)]
    return found if search.best[0] in found else [search.best[0], *found]


def _weighed(candidate: Candidate, search: Search) -> dict[str, object]:
    return {
        "layout": candidate.layout.describe(),
        "step_s": candidate.step_s,
        "step_low_s": candidate.step_low_s,
        "step_high_s": candidate.step_high_s,
        "memory_bytes": candidate.memory_bytes,
        "memory_low_bytes": candidate.memory_low_bytes,
        "memory_high_bytes": candidate.memory_high_bytes,
        "on_front": candidate in search.pareto,
    }
