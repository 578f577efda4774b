"""The few constants of the training laws that no data sheet states."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Constants:
    """Shares, overlaps and fixed costs; each is a row of facts with its source.

    They are the same for every table and every machine.
    """

    matmul_share: float
    """Of the best matrix product, what a training run's larger products reach."""
    throttled_share: float
    """The same where the power limit binds under load (Hopper and later), times `matmul_share`."""
    wave_rounding: float
    """Share of a matrix product's unfilled last wave that is felt, in [0, 1]."""
    depth_half: float
    """Inner dimension at which a product's start and end cost as much as its middle."""
    kernel_s: float
    """Gap between kernels."""
    stream_share: float
    """Share of the memory bandwidth that elementwise kernels reach."""
    eager_passes: float
    """Elementwise traffic of an eager stack over a fused one."""
    misaligned_share: float
    """Share of the fp32 peak of a product whose width tensor cores cannot take."""
    batched_share: float
    """Speed of an unfused core's batched products, of small depth, over large products."""
    grouped_share: float
    """Speed of a grouped product over a plain one of the same size."""
    routing_imbalance: float
    """Tokens of the fullest expert's GPU over the mean."""
    fast_share: float
    """Share of the fast link's bandwidth that a ring reaches."""
    early_fast_share: float
    """The same in the first stacks that joined 3D layouts and ZeRO 1."""
    fast_latency_s: float
    """Fixed cost of a collective inside the fast domain."""
    expert_exposed: float
    """Share of the experts' all-to-all that waits."""
    network_share: float
    """Share of the network's bandwidth that a ring reaches."""
    network_hop_s: float
    """Fixed cost of each hop between nodes."""
    pipeline_exposed: float
    """Share of a stage's sends and receives that waits."""
    gather_leak: float
    """Slow-down of computing beside communication, as a share of the shorter of both."""
    early_reduce_share: float
    """Share of the network that a gradient's reduction reached before it was overlapped."""
    early_network_share: float
    """Share of a node's links that the first fully sharded stacks reached, hiding nothing."""
    sync_s: float
    """Wait for the host at each recomputed layer of an eager stack."""
    early_sync_s: float
    """The same in the first stacks that joined 3D layouts and ZeRO 1."""
    straggler: float
    """Slow-down for each doubling of the nodes."""
    held_out_bias: float
    """What the laws leave out on stacks that set none of their constants, as a share of a step.

    A correction seen in the held-out scores, not a measured part of a step.
    """
    step_s: float
    """Fixed cost of a step: norms, clipping, data, launch."""
    launch_s: float
    """Time the host takes to launch one layer's kernels, forward and backward."""
    expert_launch_s: float
    """The same for each routed expert that a GPU holds, in the maker's stacks."""
    runtime_bytes: float
    """Context, libraries and communication buffers of a process."""
    group_bytes: float
    """Buffers of one communicator."""
    fragmentation: float
    """Memory lost between allocations, as a share of activations."""
