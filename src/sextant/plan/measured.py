"""What a run measured, read from a row: legible figures, and the step time that they imply.

Nothing here is read by a prediction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sextant.plan.backtest_rows import Question

SMALLEST, LARGEST = 1e-12, 1e24
"""No figure of a real run (seconds, bytes, FLOP/s, fractions) lies outside."""
RATES = (
    ("tokens_per_s_per_gpu", False),
    ("model_flops_per_s_per_gpu", False),
    ("hardware_flops_per_s_per_gpu", True),
    ("mfu", False),
    ("hfu", True),
)
"""Figures that a step time follows from, the surest first, and whether they count recompute."""


def measured_of(row: Mapping[str, Any], asked: Question) -> dict[str, Any]:
    """The figures of a row's `measured` that can be used, `step_s` by arithmetic if not stated.

    What is not positive or not finite is left out; a run that went out of memory has no time.
    """
    said = row.get("measured")
    if not isinstance(said, Mapping):
        return {}
    found = {str(name): value for name, value in said.items() if _is_legible(value)}
    if "step_s" not in found and found.get("out_of_memory") is not True:
        seconds = implied_step_s(found, asked, str(row.get("attention_flops", "full")))
        if seconds is not None and SMALLEST <= seconds <= LARGEST:
            found["step_s"] = seconds
    return found


def _is_legible(value: object) -> bool:
    if isinstance(value, bool):
        return True
    if not isinstance(value, (int, float)):
        return False
    return SMALLEST <= value <= LARGEST


def implied_step_s(
    figures: Mapping[str, Any], asked: Question, attention_flops: str = "full"
) -> float | None:
    """The step time that a throughput implies: tokens (or their FLOPs) of a step over the rate.

    `attention_flops` is how the source counts attention: `full`, or `causal` for half of it.
    Utilisations are over the dense peak of the precision. None without a throughput.
    Source: arithmetic; FLOPs of a token by Narayanan et al. 2021, appendix.
    """
    layout = asked.layouts[0]
    tokens = layout.global_batch * asked.shape.sequence / layout.gpus
    for name, counts_recompute in RATES:
        rate = figures.get(name)
        if isinstance(rate, bool) or not isinstance(rate, (int, float)):
            continue
        if name.startswith("tokens"):
            return tokens / rate
        each = _flops_per_token(asked, attention_flops, with_recompute=counts_recompute)
        peak = asked.accelerator.peak(asked.precision) if name in ("mfu", "hfu") else 1.0
        seconds = tokens * each / (rate * peak)
        return seconds if math.isfinite(seconds) else None
    return None


def _flops_per_token(asked: Question, attention_flops: str, *, with_recompute: bool) -> float:
    shape, recompute = asked.shape, asked.layouts[0].recompute
    whole = shape.flops_per_token()
    attention = shape.attention_flops_per_token()
    if attention_flops == "causal":
        whole, attention = whole - attention / 2.0, attention / 2.0
    if not with_recompute or recompute == "none":
        return whole
    # A third of all that a trained token takes is its forward pass, done twice.
    return whole + (whole if recompute == "full" else attention) / 3.0
