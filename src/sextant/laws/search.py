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


def auction_s(*, bid_s: float, tell_s: float, loss_probability: float) -> float:
    """How long a consensus-based bundle auction takes to settle, where all hear all.

    Drones bid in turn within a round, each knowing what those before it told. Who is outbid by one
    after it bids again a round later, and tells so; a word that is lost is told again.
    Source: Choi, Brunet and How 2009, Consensus-based decentralized auctions, IEEE T-RO 25(4):
    rounds grow with the network's diameter, which is 1 here. That one round is enough whatever the
    number of drones and tasks was seen in one rehearsal (docs/log.md), and not tried in another.
    """
    return bid_s + tell_s / (1.0 - loss_probability)


def queued_s(tick_s: float, *, drones: int, cores: int) -> float:
    """How long a tick takes on average where all drones of one machine wake at once.

    Each core works through `drones / cores` ticks, so the mean is done after half of those and half
    of its own: `tick * (drones / cores + 1) / 2`.
    """
    return tick_s * (max(1.0, drones / cores) + 1.0) / 2.0
