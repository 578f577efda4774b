"""Recall: what probing few lists costs, and what a missing shard costs."""

from __future__ import annotations

import math


def probed_recall(probes: float, scale: float) -> float:
    """Share of the true neighbours that lie in the probed lists, `1 - exp(-sqrt(probes/scale))`.

    Lists are probed from the nearest, so each further one brings less; a square root in the
    exponent fits. `scale` is the number of probes that finds 63%.
    Known error: within 0.03 on Deep1B (IVF1048576, 1 to 256 probes, recall over its plateau).
    Source: fitted to Simhadri et al. 2022, track 1, Faiss on Deep1B.
    """
    return -math.expm1(-math.sqrt(max(0.0, probes) / scale))


def probes_for(recall: float, scale: float) -> float:
    """Probes that reach a recall: the inverse of `probed_recall`, `scale x ln(1/(1-r))^2`.

    Bounded: a recall over 0.9999 is taken as that (1 would need every list).
    """
    return scale * math.log1p(-min(recall, 0.9999)) ** 2


def lost_shard_recall(num_shards: float, lost: float = 1.0) -> float:
    """Recall lost with `lost` shards of documents that are spread by hash: `lost / N`.

    Each of the true neighbours is on the lost shards with that probability.
    Source: arithmetic; documents are placed by a hash of their id, so shards are exchangeable.
    """
    return min(1.0, lost / max(1.0, num_shards))


def partial_recall(full_recall: float, coverage: float) -> float:
    """Expected recall of an answer merged from the shards that came in time: `recall x coverage`.

    Source: as `lost_shard_recall`, with coverage the share of documents asked and answered.
    """
    return full_recall * coverage


def neighbours_per_shard(k: float, num_shards: float, miss: float = 1e-3) -> float:
    """Results to ask of each shard so that the merged top k is whole but for a chance of `miss`.

    The number of the top k on one shard is binomial(k, 1/N): mean k/N, and by Bernstein's bound
    more than `k/N + sqrt(2 (k/N) t) + t/3`, with `t = ln(N/miss)`, on any shard with chance miss.
    Source: Boucheron, Lugosi and Massart 2013, section 2.8.
    """
    mean = k / max(1.0, num_shards)
    t = math.log(max(1.0, num_shards) / miss)
    return min(k, mean + math.sqrt(2.0 * mean * t) + t / 3.0)
