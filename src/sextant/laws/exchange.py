"""The exchange of pooled embeddings between the shards of a table, and the sum of gradients."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Fabric:
    """What one shard can send: inside its fast domain, and out through its share of the network."""

    domain: float
    """Shards in one fast domain; 1 where there is none."""
    fast_bytes_per_s: float
    network_bytes_per_s: float
    latency_s: float


def exchange_s(bytes_per_shard: float, shards: float, fabric: Fabric) -> float:
    """One all-to-all in which every shard sends its share of the batch's vectors to the others.

    Of what a shard sends, `1/n` stays with it, `(l - 1)/n` crosses the fast link inside its domain
    of l, and `(n - l)/n` leaves through its share of the network; both run at once, so the slower
    counts. One latency for each doubling of the shards.
    Source: Thakur, Rabenseifner, Gropp 2005, Optimization of Collective Communication Operations
    in MPICH, IJHPCA 19(1), section on all-to-all (alpha-beta cost).
    """
    if shards <= 1.0:
        return 0.0
    local = min(max(1.0, fabric.domain), shards)
    fast = 0.0
    if local > 1.0:
        fast = bytes_per_shard * (local - 1.0) / shards / fabric.fast_bytes_per_s
    outside = bytes_per_shard * (shards - local) / shards / fabric.network_bytes_per_s
    return fabric.latency_s * _doublings(shards) + max(fast, outside)


def gradient_sum_s(payload_bytes: float, members: float, fabric: Fabric) -> float:
    """Sum of the dense gradients over all members, domain by domain.

    A domain of l first sums over its fast link, each member keeping 1/l of the result; that part is
    summed over the d domains through each member's own share of the network; then the domain
    gathers again. A ring of n moves `2 (n - 1) / n` of what it sums:

        2 (l - 1)/l payload / fast + 2 (d - 1)/d (payload / l) / network

    Source: Patarasuk and Yuan 2009, Bandwidth Optimal All-Reduce Algorithms, JPDC 69(2), at both
    levels.
    """
    if members <= 1.0:
        return 0.0
    local = min(max(1.0, fabric.domain), members)
    domains = members / local
    fast = 0.0
    if local > 1.0:
        fast = 2.0 * payload_bytes * (1.0 - 1.0 / local) / fabric.fast_bytes_per_s
    outside = 2.0 * payload_bytes / local * (1.0 - 1.0 / domains) / fabric.network_bytes_per_s
    return fabric.latency_s * _doublings(members) + fast + outside


def _doublings(members: float) -> float:
    return max(1.0, float(int(members - 1.0).bit_length()))
