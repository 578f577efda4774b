"""Failures of a large job: how often, how often to save, and what is left of the time.

Kept apart from step time: a step's law knows nothing of failures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


def mtbf_s(nodes: float, failures_per_node_per_s: float) -> float:
    """Mean time between failures of a job that dies with any of its nodes.

    Independent exponential parts: rates add, `1 / (n lambda)`.
    Source: Kokolis et al. 2025, arXiv 2410.21680, section III (RSC-1: 6.50 per 1,000 node-days);
    its own observation at 8 and at 1,024 GPUs is 3.2 and 3.6 times shorter than this formula.
    """
    rate = nodes * failures_per_node_per_s
    return math.inf if rate <= 0.0 else 1.0 / rate


def young_daly_s(save_s: float, mtbf: float) -> float:
    """The first-order best time between checkpoints, `sqrt(2 C M)`.

    Overhead per unit of work is `C/T + T/2M`; its derivative is zero there.
    Source: Young 1974, CACM 17(9); Daly 2006, FGCS 22(3), equation 10.
    """
    return math.sqrt(2.0 * save_s * mtbf)


def expected_s(work_s: float, save_s: float, restart_s: float, mtbf: float) -> float:
    """Expected time to get through `work_s` and save it once, with failures at any moment.

    Exponential failures of mean M strike work, save and restart alike, and the segment starts
    again after each: `(M + R') (e^((T+C)/M) - 1)` with `R' = M (e^(R/M) - 1)` the expected time
    of a restart that may fail itself.
    Source: Daly 2006, equation 13 (M e^(R/M) (e^((T+C)/M) - 1)).
    """
    if math.isinf(mtbf):
        return work_s + save_s
    exponent = min(700.0, (work_s + save_s) / mtbf)
    return mtbf * math.exp(min(700.0, restart_s / mtbf)) * math.expm1(exponent)


def optimal_interval_s(save_s: float, mtbf: float) -> float:
    """The exact best work between checkpoints under exponential failures.

    Minimising `e^(R/M) M (e^((T+C)/M) - 1) / T` over T gives `(1 - T/M) e^((T+C)/M) = 1`, so
    `T = M (1 + W0(-e^(-1 - C/M)))`, with W0 Lambert's function; the restart time drops out.
    Source: Bougeret et al. 2011, "Checkpointing strategies for parallel jobs", theorem 1.
    """
    if math.isinf(mtbf):
        return math.inf
    if save_s <= 0.0:
        return 0.0
    return mtbf * (1.0 + _lambert_above_branch(save_s / mtbf))


def _lambert_above_branch(ratio: float) -> float:
    """W0(-exp(-1 - ratio)) by Halley's iteration, from the series at the branch point."""
    p = math.sqrt(-2.0 * math.expm1(-ratio))
    w = -1.0 + p - p * p / 3.0 + 11.0 * p**3 / 72.0
    if ratio > 1.0:
        w = -math.exp(-1.0 - ratio)
    target = -math.exp(-1.0 - ratio)
    for _ in range(60):
        ew = math.exp(w)
        miss = w * ew - target
        slope = ew * (w + 1.0)
        if slope == 0.0:
            break
        change = miss / (slope - (w + 2.0) * miss / (2.0 * w + 2.0))
        w -= change
        if abs(change) <= 1e-14 * max(1e-8, abs(1.0 + w)):
            break
    return w


@dataclass(frozen=True, kw_only=True, slots=True)
class Goodput:
    """Where a long job's time goes; the shares sum to 1."""

    useful: float
    checkpoint: float
    lost: float
    restart: float
    slow: float
    interval_s: float
    mtbf_s: float

    @property
    def total(self) -> float:
        """The sum of the shares, which is 1."""
        return self.useful + self.checkpoint + self.lost + self.restart + self.slow


def goodput(
    *,
    mtbf: float,
    save_s: float,
    restart_s: float,
    interval_s: float | None = None,
    slowed: float = 1.0,
) -> Goodput:
    """The share of time that is useful work, and where the rest goes.

    `useful = T / E(T)` with `expected_s`. Of the rest, saving takes `C / E`; a failure comes every
    `M` seconds and costs the restart; what remains is work done twice. `restart_s` is everything
    from the failure to the first new step: noticing, replacing, starting, loading. `slowed` is how
    many times as long steps take for stragglers (`slowed_by`): of the time at work `1 / slowed` is
    useful.
    Source: Daly 2006; the split is arithmetic on it.
    """
    interval = optimal_interval_s(save_s, mtbf) if interval_s is None else interval_s
    if math.isinf(interval) or math.isinf(mtbf):
        return Goodput(
            useful=1.0 / slowed,
            checkpoint=0.0,
            lost=0.0,
            restart=0.0,
            slow=1.0 - 1.0 / slowed,
            interval_s=interval,
            mtbf_s=mtbf,
        )
    interval = max(interval, 1e-9)
    elapsed = expected_s(interval, save_s, restart_s, mtbf)
    useful, saving = interval / elapsed, save_s / elapsed
    wasted = max(0.0, 1.0 - useful - saving)
    restart = min(wasted, restart_s / mtbf)
    return Goodput(
        useful=useful / slowed,
        checkpoint=saving,
        lost=wasted - restart,
        restart=restart,
        slow=useful - useful / slowed,
        interval_s=interval,
        mtbf_s=mtbf,
    )


def elastic_worth_s(restart_s: float, lost_share: float) -> float:
    """How long a lost place must stay away for going on without it to be worth two restarts.

    To wait costs `w + R` for a place that is back after `w`. To go on costs `R`, then `w l` at the
    pace of the rest (`l` the share of it that is lost), and `R` again with the place back. They are
    equal at `w = R / (1 - l)`; where all of the pace is lost, never.
    Source: arithmetic on what a restart costs (`goodput`).
    """
    return math.inf if lost_share >= 1.0 else restart_s / (1.0 - lost_share)


def slowed_by(nodes: float, slow_fraction: float, delay: float) -> float:
    """How many times as long a job takes because some node of it is slow for a while.

    A node is slow (throttled, congested) for the share q of the time, independently; a synchronous
    job is as slow as its slowest node: `1 + d (1 - (1 - q)^n)`, d the delay of a step while any is.
    Healthy nodes that merely differ belong to the step's law, set by runs of whole jobs.
    Source: order statistics of independent nodes; Wu et al. 2025 (Greyhound), USENIX ATC.
    """
    if slow_fraction >= 1.0:
        return 1.0 + delay
    return 1.0 - delay * math.expm1(nodes * math.log1p(-slow_fraction))
