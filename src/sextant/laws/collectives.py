"""Collectives over the fast domain and the network between domains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sextant.laws.constants import Constants
from sextant.laws.job import Column, Flags, Job


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, repr=False)
class Group:
    """Ranks of a mesh axis: how many in all, and how many of them in one fast domain."""

    size: Column
    local: Column

    @property
    def domains(self) -> Column:
        """Fast domains that the group spans."""
        return np.maximum(1.0, np.ceil(self.size / self.local))


def group(size: Column, stride: Column, job: Job) -> Group:
    """The group of a mesh axis whose neighbours are `stride` ranks apart.

    Ranks are laid out in order, so a fast domain of D GPUs holds `D / stride` of the group.
    Source: arithmetic on rank order (tensor innermost, then context, data, pipeline outermost).
    """
    local = np.clip(np.floor(job.fast_domain / stride), 1.0, size)
    return Group(size=size + 0.0 * local, local=local)


def gather_s(total_bytes: Column, ranks: Group, job: Job, constants: Constants) -> Column:
    """All-gather (or reduce-scatter) of a message whose whole is `total_bytes`.

    Each rank receives `(n-1)/n` of it over its fast link; what comes from other domains enters
    through the network, which the domain's GPUs share: a ring enters each domain once, so a GPU's
    own share of the links carries `(1 - l/n)` of the message over `l` ranks. The slower of both.
    Latency grows with the ring's hops.
    Source: Thakur et al. 2005, IJHPCA 19(1); NCCL's documentation of rings over several cards.
    """
    n, local = ranks.size, ranks.local
    fast = total_bytes * (n - 1.0) / n / (job.fast_link * constants.fast_share)
    outside = np.where(ranks.domains > 1.0, total_bytes * (1.0 - local / n) / local, 0.0)
    network = outside / (job.network * constants.network_share)
    latency = constants.fast_latency_s + constants.network_hop_s * (ranks.domains - 1.0)
    return np.where(n > 1.0, np.maximum(fast, network) + latency, 0.0)


def all_reduce_s(message_bytes: Column, ranks: Group, job: Job, constants: Constants) -> Column:
    """All-reduce: a reduce-scatter and an all-gather.

    Source: Patarasuk and Yuan 2009, JPDC 69(2).
    """
    return 2.0 * gather_s(message_bytes, ranks, job, constants)


def all_to_all_s(
    sent_bytes: Column,
    ranks: Group,
    job: Job,
    constants: Constants,
    *,
    crossing_bytes: Column | None = None,
) -> Column:
    """All-to-all of `sent_bytes` from each rank, spread evenly over the group.

    What leaves the domain crosses the rank's share of the network: `1 - l/n` of all, or of
    `crossing_bytes` where a token that goes to several experts of one domain crosses once. The
    fast link carries every copy, those that came over the network too, but for the `1/l` that is
    where it should be.
    Source: DeepSeek-V3, arXiv 2412.19437, section 3.2.2 (dispatch by node, then by NVLink).
    """
    n, local = ranks.size, ranks.local
    crossing = sent_bytes if crossing_bytes is None else crossing_bytes
    fast = sent_bytes * (local - 1.0) / local / (job.fast_link * constants.fast_share)
    network = crossing * (1.0 - local / n) / (job.network * constants.network_share)
    time = np.maximum(fast, network) + constants.fast_latency_s
    return np.where(n > 1.0, time, 0.0)


def send_s(message_bytes: Column, crosses: Flags, job: Job, constants: Constants) -> Column:
    """One message to the next stage, over the network where stages lie in different domains.

    Source: Hockney 1994, Parallel Computing 20(3) (`latency + bytes / bandwidth`).
    """
    fast = job.fast_link * constants.fast_share
    link = np.where(crosses, job.network * constants.network_share, fast)
    return message_bytes / link + constants.fast_latency_s
