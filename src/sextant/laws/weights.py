"""Weights that one GPU of the fullest stage holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sextant.laws.job import Column, Job


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, repr=False)
class Weights:
    """Parameters by kind: of one layer on one GPU, and of the vocabulary on one GPU."""

    attention: Column
    dense_mlp: Column
    experts: Column
    """Of one MoE layer: routed experts of this GPU."""
    shared: Column
    """Of one MoE layer: shared experts and router."""
    vocabulary: Column
    """One `vocab x hidden` matrix, split."""


def attention_parameters(job: Job) -> Column:
    """Weights of one layer's attention in all.

    Source: as `TransformerShape.attention_parameters`.
    """
    h, a, d, r, v = job.hidden, job.heads, job.head_width, job.rope_width, job.value_width
    standard = h * (a + 2.0 * job.kv_heads) * d + a * d * h
    queries = np.where(
        job.query_rank > 0, h * job.query_rank + job.query_rank * a * (d + r), h * a * (d + r)
    )
    latent = queries + h * (job.kv_rank + r) + job.kv_rank * a * (d + v) + a * v * h
    return np.where(job.latent > 0, latent, standard)


def expert_ranks(job: Job) -> Column:
    """GPUs that one layer's experts are spread over: `ep`, or the tensor group without it.

    Source: Megatron Core (`expert_tensor_parallel_size`: as the tensor group's unless stated).
    """
    return np.where(job.ep > 1.0, job.ep, job.tp)


def expert_copies(job: Job) -> Column:
    """GPUs of a stage that hold the same experts.

    Source: Megatron Core (expert data parallel size: a stage's ranks over the experts').
    """
    return np.maximum(1.0, job.tp * job.dp * job.cp / expert_ranks(job))


def weights(job: Job) -> Weights:
    """What one GPU holds of a layer and of the vocabulary, before any ZeRO.

    Tensor parallelism splits every matrix; expert parallelism the routed experts.
    Source: Shoeybi et al. 2019, arXiv 1909.08053; Lepikhin et al. 2020, arXiv 2006.16668.
    """
    one_expert = job.mlp_matrices * job.hidden * job.expert_ffn
    shared = job.shared_experts * one_expert / job.tp + job.hidden * job.experts
    return Weights(
        attention=attention_parameters(job) / job.tp + 2.0 * job.hidden,
        dense_mlp=job.mlp_matrices * job.hidden * job.ffn / job.tp,
        experts=job.experts * one_expert / expert_ranks(job),
        shared=shared,
        vocabulary=job.vocab * job.hidden / job.tp,
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, repr=False)
class StageWeights:
    """Parameters on one GPU of a stage: those every data rank shares, and routed experts."""

    common: Column
    experts: Column

    @property
    def total(self) -> Column:
        """Both together."""
        return self.common + self.experts


def stage_weights(job: Job, layers: Column, vocabularies: Column) -> StageWeights:
    """Parameters of a stage of so many layers (of mean kind) and vocabulary matrices.

    Source: arithmetic on `weights`; learned positions sit beside the input embedding.
    """
    one = weights(job)
    moe = job.moe_layers / job.layers
    dense = one.attention + (1.0 - moe) * one.dense_mlp + moe * one.shared
    positions = job.positions * job.sequence * job.hidden * np.minimum(vocabularies, 1.0)
    common = layers * dense + vocabularies * one.vocabulary + positions
    return StageWeights(common=common, experts=layers * moe * one.experts)
