"""Differential privacy of the Gaussian mechanism over many rounds."""

from __future__ import annotations

import math


def gaussian_epsilon(noise_multiplier: float, rounds: float, delta: float) -> float:
    """Privacy loss of `rounds` releases, each with noise of `noise_multiplier` x sensitivity.

    Renyi divergence of order a is `a T / (2 z^2)`, and Renyi (a, e) gives
    `(e + ln(1/delta) / (a - 1), delta)`. Minimised over a, `a = 1 + z sqrt(2 ln(1/delta) / T)`:

        epsilon = T / (2 z^2) + sqrt(2 T ln(1/delta)) / z

    Every site takes part in every round (no amplification by sampling), so it is an upper bound.
    Source: Mironov 2017, Renyi Differential Privacy, propositions 1, 3 and 7.
    """
    ratio = rounds / noise_multiplier**2
    return ratio / 2.0 + math.sqrt(2.0 * ratio * math.log(1.0 / delta))


def noise_for(epsilon: float, rounds: float, delta: float) -> float:
    """The noise multiplier that spends exactly epsilon: `gaussian_epsilon` solved for z.

    With `x = sqrt(T) / z` and `L = ln(1/delta)`: `x^2 / 2 + sqrt(2 L) x = epsilon`, so
    `x = sqrt(2 L + 2 epsilon) - sqrt(2 L)`.
    Source: Mironov 2017, as above.
    """
    log_term = 2.0 * math.log(1.0 / delta)
    x = 2.0 * epsilon / (math.sqrt(log_term + 2.0 * epsilon) + math.sqrt(log_term))
    return math.sqrt(rounds) / x
