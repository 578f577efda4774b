"""Federated rounds: what crosses the links, and what hiding each site's update adds."""

from __future__ import annotations

import math

KEY_BITS = 256.0
"""A public key, and an encrypted share of a secret, in secure aggregation."""


def round_bytes(sites: float, model_bytes: float) -> float:
    """Bytes of one round: each site takes the model down and sends it up, `2 x sites x model`.

    Source: McMahan et al. 2017, Communication-Efficient Learning of Deep Networks from
    Decentralized Data, algorithm 1.
    """
    return 2.0 * sites * model_bytes


def transfer_s(model_bytes: float, link_bytes_per_s: float, round_trip_s: float) -> float:
    """One way of the model over a site's link: half a round trip, then its bytes at the rate."""
    return round_trip_s / 2.0 + model_bytes / link_bytes_per_s


def secure_upload_bits(sites: float, numbers: float, bits_per_number: float) -> float:
    """Bits one site sends in a round of secure aggregation.

    `2 n a_K + (5 n - 4) a_S + m ceil(log2 R)`: keys of and shares for every other site, and m
    masked numbers that must not overflow when n are summed, `log2 R = bits + log2 n`.
    Known error: reproduces the paper's 1.73 times for 2^10 users and 2^20 numbers of 16 bits, and
    1.98 times for 2^14 users and 2^24 numbers, to the digit.
    Source: Bonawitz et al. 2017, Practical Secure Aggregation, section 7 (user communication).
    """
    width = bits_per_number + math.ceil(math.log2(max(1.0, sites)))
    return 2.0 * sites * KEY_BITS + max(0.0, 5.0 * sites - 4.0) * KEY_BITS + numbers * width
