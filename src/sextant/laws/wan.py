"""Training over wide links: all-reduce between sites, and DiLoCo's rare exchanges."""

from __future__ import annotations

from dataclasses import dataclass


def all_reduce_s(
    message_bytes: float, sites: int, link_bytes_per_s: float, round_trip_s: float = 0.0
) -> float:
    """Ring all-reduce between sites over links of equal bandwidth.

    `2 (n-1)/n` of the message crosses each site's link, in `2 (n-1)` hops of half a round trip.
    Source: Patarasuk and Yuan 2009, JPDC 69(2) (the bandwidth bound is met by a ring).
    """
    if sites <= 1:
        return 0.0
    return 2.0 * (sites - 1) / sites * message_bytes / link_bytes_per_s + (sites - 1) * round_trip_s


@dataclass(frozen=True, kw_only=True, slots=True)
class OuterLoop:
    """One outer round of DiLoCo; `utilisation` is the share of it spent on inner steps."""

    inner_s: float
    exchange_s: float
    exposed_s: float
    bytes_per_site: float

    @property
    def total_s(self) -> float:
        """Wall time of the round."""
        return self.inner_s + self.exposed_s

    @property
    def utilisation(self) -> float:
        """Useful share of the round, in (0, 1]."""
        return self.inner_s / self.total_s


def diloco_round(
    *,
    parameters: float,
    sites: int,
    inner_steps: int,
    inner_step_s: float,
    link_bytes_per_s: float,
    round_trip_s: float = 0.1,
    bytes_per_parameter: float = 4.0,
    overlapped_fraction: float = 0.0,
) -> OuterLoop:
    """H inner steps at every site, then one all-reduce of the pseudo-gradient.

    `utilisation = H t / (H t + exposed)`. Streaming variants hide a share of the exchange
    (`overlapped_fraction`) behind the next inner steps.
    Source: Douillard et al. 2023, arXiv 2311.08105, algorithm 1; OpenDiLoCo, arXiv 2407.07852.
    """
    message = parameters * bytes_per_parameter
    exchange = all_reduce_s(message, sites, link_bytes_per_s, round_trip_s)
    inner = inner_steps * inner_step_s
    hidden = min(inner, overlapped_fraction * exchange)
    moved = 0.0 if sites <= 1 else 2.0 * (sites - 1) / sites * message
    return OuterLoop(
        inner_s=inner, exchange_s=exchange, exposed_s=exchange - hidden, bytes_per_site=moved
    )
