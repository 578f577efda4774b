"""One training step of a recommender whose tables are split over shards."""

from __future__ import annotations

from dataclasses import dataclass

from sextant.laws.exchange import Fabric, exchange_s, gradient_sum_s


@dataclass(frozen=True, kw_only=True, slots=True)
class StepWork:
    """What one step must do, over all shards together."""

    lookups: float
    """Rows read, one for each id of the batch."""
    distinct_rows: float
    """Rows written back: each row that was touched, once."""
    row_bytes: float
    state_row_bytes: float
    exchanged_bytes: float
    """Pooled vectors that cross between shards, one way."""
    dense_flops: float
    dense_gradient_bytes: float
    sample_bytes: float


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRates:
    """What one shard (an accelerator) can do in a second, as much as it reaches in practice."""

    gather_bytes_per_s: float
    flops_per_s: float
    read_bytes_per_s: float
    fabric: Fabric
    overhead_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTime:
    """Where a step's time goes, in seconds."""

    gather_s: float
    dense_s: float
    exchange_s: float
    gradient_sum_s: float
    """What of summing the dense gradients is not hidden behind the backward pass."""
    overhead_s: float
    read_s: float
    """Reading the samples, behind the rest."""

    @property
    def total_s(self) -> float:
        """The step: what runs one after another, or the reading if that takes longer."""
        own = self.gather_s + self.dense_s + self.exchange_s + self.gradient_sum_s
        return max(own + self.overhead_s, self.read_s)


def step_time(work: StepWork, rates: StepRates, shards: float) -> StepTime:
    """Time of one step on `shards` equal accelerators.

    Look-ups read `lookups x row` bytes; the update reads and writes each distinct row and its
    optimizer state, `2 x distinct x (row + state)`; pooled vectors cross forward and their
    gradients backward; the dense part is split by samples, and its gradients are summed behind
    its backward pass, two thirds of it.
    Source: Naumov et al. 2019, DLRM, section 4; Mudigere et al. 2022, section 4.
    """
    dense_s = work.dense_flops / shards / rates.flops_per_s
    summed_s = gradient_sum_s(work.dense_gradient_bytes, shards, rates.fabric)
    update = 2.0 * work.distinct_rows * (work.row_bytes + work.state_row_bytes)
    moved = work.lookups * work.row_bytes + update
    return StepTime(
        gather_s=moved / shards / rates.gather_bytes_per_s,
        dense_s=dense_s,
        exchange_s=2.0 * exchange_s(work.exchanged_bytes / shards, shards, rates.fabric),
        gradient_sum_s=max(0.0, summed_s - 2.0 / 3.0 * dense_s),
        overhead_s=rates.overhead_s,
        read_s=work.sample_bytes / shards / rates.read_bytes_per_s,
    )
