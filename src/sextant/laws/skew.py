"""Sites that are not alike: what a log-normal spread of sizes does to means and to weights."""

from __future__ import annotations

import math


def median_over_mean(log_sigma: float) -> float:
    """Median of a log-normal over its mean: `exp(-sigma^2 / 2)`.

    Source: Aitchison and Brown 1957, The Lognormal Distribution, section 2.3.
    """
    return math.exp(-(log_sigma**2) / 2.0)


def effective_count(count: float, log_sigma: float) -> float:
    """How many equal sites carry as much as `count` sites of log-normal sizes.

    Kish's `(sum w)^2 / sum w^2`, which for log-normal weights tends to `n exp(-sigma^2)`.
    Known error: too low for a handful of sites, and never below one.
    Source: Kish 1965, Survey Sampling, section 11.7.
    """
    return max(1.0, count * math.exp(-(log_sigma**2)))
