"""Searching together: how long a swarm sweeps an area, and how long an auction takes to settle."""

from __future__ import annotations


def sweep_s(
    area_m2: float, *, drones: int, width_m: float, speed_m_per_s: float, efficiency: float
) -> float:
    """How long drones take to see an area with cameras that sweep a strip.

    `area / (drones * width * speed)` where each strip is flown once at full speed; `efficiency` is
    the share of that which turns, overlaps and ways to the next strip leave.
    Source: Koopman 1980, Search and Screening: the sweep rate is speed times width.
    """
    return area_m2 / (drones * width_m * speed_m_per_s * efficiency)


def auction_s(*, bundle: int, bid_s: float, tell_s: float, loss_probability: float) -> float:
    """How long a consensus-based bundle auction takes where all hear all.

    The first bids come within a round of bidding. After each round of telling at least one more
    place of every bundle stands, and whoever was outbid bids again in the next round of bidding,
    half of one later on average; a word that is lost is told again.
    Source: Choi, Brunet and How 2009, Consensus-based decentralized auctions, IEEE T-RO 25(4):
    rounds grow with the tasks to settle times the network's diameter, which is 1 here.
    """
    return bid_s + bundle * (0.5 * bid_s + tell_s / (1.0 - loss_probability))
