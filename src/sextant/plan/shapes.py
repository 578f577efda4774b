"""From a workload's `[model]` to its parameter counts."""

from __future__ import annotations

from sextant.workload import Model


def parameters(model: Model) -> float:
    """Parameters, stated or from the shape."""
    return model.parameters or 12.0 * (model.layers or 1) * float(model.hidden or 1) ** 2


def active_parameters(model: Model) -> float:
    """Parameters that one token passes through: fewer than all in a mixture of experts."""
    if model.active_parameters:
        return model.active_parameters
    total = parameters(model)
    if model.experts and model.active_experts:
        return total * max(0.05, model.active_experts / model.experts)
    return total
