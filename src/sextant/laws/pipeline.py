"""Pipelines: how many layers the fullest stage has, what waits, and what is in flight."""

from __future__ import annotations

import numpy as np

from sextant.laws.job import Column, Job


def fullest_stage_layers(job: Job) -> Column:
    """Layers of the fullest stage: as stated, else shared out as evenly as whole layers allow.

    Where embedding and head count as a layer each, L + 2 are shared out.
    Source: Megatron-LM's partition (equal chunks of each virtual stage).
    """
    counted = job.layers + 2.0 * job.counted
    even = np.ceil(counted / job.pp)
    even = np.minimum(even, job.layers)
    return np.where(job.largest_stage > 0, job.largest_stage, even)


def pipeline_s(slowest_s: Column, whole_s: Column, micro_batches: Column, chunks: Column) -> Column:
    """Time of a 1F1B schedule of stages that take `whole_s` in all, the slowest `slowest_s`.

    The slowest stage works through every micro-batch; filling and draining passes the others
    once, or a `chunks`th of it with interleaved virtual stages:
    `m t_max + (sum t - t_max) / v`. Equal stages: `(m + (p - 1)/v) t`.
    Source: Narayanan et al. 2021, arXiv 2104.04473, section 2.2.
    """
    return micro_batches * slowest_s + np.maximum(0.0, whole_s - slowest_s) / chunks


def in_flight(job: Job, stage: Column | float = 0.0) -> Column:
    """Micro-batches (of a whole stage's layers) that a stage holds the activations of.

    Stages are counted from 0.

    1F1B: `min(p - i, m)`; interleaved: `p - 2 i / v + (p - 1) / v`.
    Source: Korthikanti et al. 2022, arXiv 2205.05198, section 4.2.3; Narayanan et al. 2021,
    arXiv 2104.04473, section 2.2 (two chunks less for each stage further on).
    """
    stacked = job.pp + (job.pp - 1.0 - 2.0 * stage) / job.interleave
    held = np.where(job.interleave > 1.0, stacked, job.pp - stage)
    return np.minimum(held, job.micro_batches)
