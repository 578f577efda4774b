"""A sharded index on one machine, from the unit costs that a probe measured there.

A rehearsal runs N shard processes on C cores. These laws take measured costs as plain numbers:
`scan_bytes_per_s` and `fixed_s` of one process scanning a flat index, `base_s` and
`per_member_s` of an empty fan-out, `matmul_flops_per_s` of the encoder's matrix products.
"""

from __future__ import annotations

import math

from sextant.laws import gather


def waves(num_shards: float, cores: float) -> float:
    """Rounds in which N compute-bound processes get through C cores: `ceil(N / C)`.

    Source: Graham 1969, list scheduling of equal jobs.
    """
    return max(1.0, float(math.ceil(num_shards / max(1.0, cores))))


def flat_scan_s(
    num_vectors: float,
    dims: float,
    element_bytes: float,
    scan_bytes_per_s: float,
    fixed_s: float,
) -> float:
    """One process scanning a flat index for one query: `fixed + n x d x b / bandwidth`."""
    return fixed_s + num_vectors * dims * element_bytes / scan_bytes_per_s


def shards_search_s(
    shard_s: float,
    num_shards: float,
    cores: float,
    memory_bytes_per_s: float = math.inf,
    shard_bytes: float = 0.0,
) -> float:
    """Time until N shards on C cores have all searched: `waves x shard time`.

    Never less than the machine's memory bandwidth allows for the bytes of all shards.
    Source: Graham 1969; roofline.
    """
    return max(waves(num_shards, cores) * shard_s, num_shards * shard_bytes / memory_bytes_per_s)


def fan_out_s(
    shard_s: float, num_shards: float, cores: float, base_s: float, per_member_s: float
) -> float:
    """Median time of asking N local shards and hearing from all of them.

    Messages and work share the cores of one machine, so they add:
    `base + N x per_member + waves x shard`.
    """
    return base_s + num_shards * per_member_s + shards_search_s(shard_s, num_shards, cores)


def fan_out_p99_s(
    shard_s: float,
    num_shards: float,
    cores: float,
    base_s: float,
    per_member_s: float,
    log_sigma: float,
) -> float:
    """The p99 of `fan_out_s` where each shard's time is lognormal with `log_sigma`.

    Of N shards on C cores the last wave decides: the slowest of `min(N, C)` side by side, after
    the waves before it at their medians.
    """
    before = (waves(num_shards, cores) - 1.0) * shard_s
    last = gather.slowest_s(shard_s, log_sigma, min(num_shards, max(1.0, cores)))
    return base_s + num_shards * per_member_s + before + last


def queries_per_s(shard_s: float, num_shards: float, cores: float, per_member_s: float) -> float:
    """Queries a second when many are in flight: cores over the processor time that one takes.

    Each query costs N shard searches and N messages: `C / (N (shard + per_member))`; so shards
    that fit one machine cost throughput: shard for capacity, replicate for throughput.
    """
    return cores / (num_shards * (shard_s + per_member_s))


def merge_s(num_shards: float, k: float, compare_s: float) -> float:
    """Merging N sorted lists into the first k at a measured cost of a comparison."""
    return gather.merge_s(num_shards, k, compare_s)


def encoder_flops(
    tokens: float, layers: float, hidden: float, ffn: float, sequence: float
) -> float:
    """FLOPs of a transformer encoder over `tokens` in passages of `sequence` tokens.

    A layer's matrices hold `4 h^2 + 2 h f`; attention looks at the whole passage:
    `T L (2 (4 h^2 + 2 h f) + 4 h s)`.
    Source: Kaplan et al. 2020, table 1, without the causal mask.
    """
    matrices = 4.0 * hidden * hidden + 2.0 * hidden * ffn
    return tokens * layers * (2.0 * matrices + 4.0 * hidden * sequence)


def embedding_passages_per_s(
    passage_tokens: float,
    layers: float,
    hidden: float,
    ffn: float,
    matmul_flops_per_s: float,
    matmul_share: float = 1.0,
    fixed_s: float = 0.0,
) -> float:
    """Passages embedded a second: `1 / (fixed + FLOPs / (rate x share))`.

    `matmul_share` is the share of a layer's time that its matrix products take (the rest is
    softmax, norms and activations); `fixed_s` is tokenizing and the like, a passage.
    """
    flops = encoder_flops(passage_tokens, layers, hidden, ffn, passage_tokens)
    return 1.0 / (fixed_s + flops / (matmul_flops_per_s * matmul_share))


def flat_index_bytes(num_vectors: float, dims: float, element_bytes: float = 4.0) -> float:
    """Bytes of a flat index: `n x d x b` (ids are kept beside it)."""
    return num_vectors * dims * element_bytes


def coverage(num_shards: float, missing: float) -> float:
    """Share of the shards, and so of the documents, that answered: `1 - missing / N`."""
    return max(0.0, 1.0 - missing / max(1.0, num_shards))


def expected_recall(full_recall: float, num_shards: float, missing: float) -> float:
    """Recall to expect with shards missing: `recall x coverage`, documents spread by hash."""
    return full_recall * coverage(num_shards, missing)
