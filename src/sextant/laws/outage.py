"""What an outage stops: a centre in series with its link, against agents that decide apart."""

from __future__ import annotations

import math


def in_series(*availabilities: float) -> float:
    """All must work: the product, so a chain is worse than its worst link.

    Source: Barlow and Proschan 1975, Statistical Theory of Reliability, section 1.2.
    """
    return math.prod(availabilities)


def all_down_probability(availability: float, count: float) -> float:
    """The chance that all of `count` independent parts are down together: `(1 - a)^n`.

    Known error: parts that share a cause (weather, a bad update) fail together far more often.
    Source: Barlow and Proschan 1975, section 1.2 (a parallel structure).
    """
    return math.pow(1.0 - availability, count)
