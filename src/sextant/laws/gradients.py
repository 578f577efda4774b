"""Gradients between data ranks: how long they travel, and what of it waits."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sextant.laws.collectives import gather_s, group
from sextant.laws.constants import Constants
from sextant.laws.job import Column, Job
from sextant.laws.layer import Work
from sextant.laws.matmul import gradient_width
from sextant.laws.overlap import chunked_s
from sextant.laws.weights import StageWeights, expert_copies, expert_ranks


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, repr=False)
class Reduction:
    """Seconds to scatter a stage's gradients over the data ranks, and to gather what comes back.

    Back come the summed gradients, or at ZeRO 1 the new weights.
    """

    scatter: Column
    gather: Column

    @property
    def total(self) -> Column:
        """Both."""
        return self.scatter + self.gather


def reduction(job: Job, constants: Constants, stage: StageWeights) -> Reduction:
    """Time to reduce a step's gradients and, at ZeRO 1, to gather the new weights; all of it.

    Weights come back in 16 bits; those of the chip's maker in the type that they multiply in.
    Source: Rajbhandari et al. 2020, arXiv 1910.02054, section 7; NVIDIA, Megatron Bridge
    (`fp8_param_gather`).
    """
    width = gradient_width(job)
    common = group(job.dp * job.cp, job.tp, job)
    copies = group(expert_copies(job), expert_ranks(job), job)
    slow = np.where(job.unfused > 0, constants.early_reduce_share / constants.network_share, 1.0)
    job = replace(job, network=job.network * slow)

    def moved(each: Column) -> Column:
        return gather_s(stage.common * each, common, job, constants) + gather_s(
            stage.experts * each, copies, job, constants
        )

    weight = np.where(job.vendor & (job.low_precision > 0.0), 1.0, 2.0)
    scattered = moved(width)
    halves = np.where((job.unfused > 0.0) & (job.zero >= 1.0), 2.0, 1.0)
    gathered = np.where(job.zero >= 1.0, moved(weight), scattered)
    once = np.where(job.zero >= 2.0, 0.0, 1.0)
    return Reduction(scatter=once * halves * scattered, gather=once * gathered)


def exposed_s(
    job: Job, constants: Constants, found: Reduction, layers: Column, work: Work
) -> Column:
    """What of a step's reduction computing does not hide.

    Scattering runs beside the last backward pass, gathering beside the first forward one, in
    pieces of a layer or of a virtual stage; interleaved, each passes p micro-batches by while its
    pieces travel. The first 3D stacks hid nothing.
    Source: Li et al. 2020, arXiv 2006.15704, section 3.2 (buckets); NVIDIA, Megatron Bridge user
    guide, communication overlap.
    """
    chunks = np.where(job.pp > 1.0, job.interleave, layers)
    passes = np.where((job.pp > 1.0) & (job.interleave > 1.0), job.pp, 1.0)
    passes = np.minimum(passes, job.micro_batches)
    backward = layers * passes * (work.backward + job.full * work.forward)
    forward = layers * passes * work.forward
    hidden = chunked_s(found.scatter, backward, chunks, constants)
    hidden = hidden + chunked_s(found.gather, forward, chunks, constants)
    return np.where(job.unfused > 0, found.total, np.minimum(hidden, found.total))
