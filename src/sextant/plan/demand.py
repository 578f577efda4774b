"""What a workload asks of a machine, before any layout: parameters, FLOPs, seconds a request."""

from __future__ import annotations

from sextant.facts import Facts, Machine
from sextant.plan.shapes import active_parameters, parameters
from sextant.workload import DTYPE_BYTES, OPTIMIZER_STATES, Model, Workload

__all__ = [
    "active_parameters",
    "parameters",
    "request_seconds",
    "sample_bytes",
    "state_bytes",
    "trained_model",
    "training_flops",
]

TOKENS_PER_IMAGE = 256.0
TOKENS_PER_QUERY = 32.0


def trained_model(workload: Workload) -> Model | None:
    """The model that `[training]` (or the sites) trains: the largest one."""
    if (workload.training is None and workload.sites is None) or not workload.model:
        return None
    return max(workload.model.values(), key=parameters)


def state_bytes(workload: Workload) -> float:
    """Bytes a trained parameter takes: weight, gradient, fp32 master copy, optimizer state.

    Source: Rajbhandari et al. 2020 (ZeRO), section 3.1: 2 + 2 + 12 = 16 with mixed-precision Adam.
    """
    training = workload.training
    precision = training.precision if training else "fp32"
    states = OPTIMIZER_STATES[training.optimizer] if training else 1.0
    if precision == "fp32":
        return 4.0 + 4.0 + 4.0 * states
    return 2.0 + 2.0 + 4.0 + 4.0 * states


def training_flops(workload: Workload) -> float:
    """FLOPs of the whole job: 6 for each active parameter and token.

    Source: Kaplan et al. 2020, section 2.1 (2 forward and 4 backward a parameter and token).
    """
    training, model = workload.training, trained_model(workload)
    if training is None or model is None:
        return 0.0
    tokens = training.tokens or 0.0
    if not tokens and training.samples:
        tokens = training.samples * _tokens_per_sample(model)
    return 6.0 * active_parameters(model) * tokens


def _tokens_per_sample(model: Model) -> float:
    if model.kind == "ranker":
        return 1.0
    return TOKENS_PER_IMAGE if model.kind == "vision" else float(model.sequence or 512)


def sample_bytes(workload: Workload) -> float:
    """Bytes that the training job must read, where its samples say."""
    training = workload.training
    if training is None or not training.samples:
        return 0.0
    return training.samples * (training.bytes_per_sample or 0.0)


def request_seconds(workload: Workload, machine: Machine, facts: Facts) -> float:
    """Seconds of one whole machine that one request takes, arithmetic and index look-up.

    FLOPs are 2 for each active parameter and token, at the serving utilisation of facts.
    """
    serving = workload.serving
    if serving is None:
        return 0.0
    usable = facts.value("serving_utilisation")
    seconds = 0.0
    for model in workload.model.values():
        flops = 2.0 * active_parameters(model) * _tokens_per_request(workload, model)
        seconds += flops / (machine.units * machine.flops_per_s(model.dtype) * usable)
    if workload.index is not None:
        rate = machine.cores * facts.value("index_queries_per_s_per_core")
        seconds += serving.steps / rate
    if (tables := workload.tables) is not None:
        row = tables.dims * DTYPE_BYTES[tables.dtype]
        gathered = tables.candidates * tables.lookups_per_sample * row
        seconds += gathered / (machine.units * machine.unit_bandwidth_bytes_per_s)
    return seconds


def _tokens_per_request(workload: Workload, model: Model) -> float:
    serving = workload.serving
    assert serving is not None
    if model.kind == "decoder":
        return serving.steps * (serving.prompt_tokens + serving.output_tokens)
    if model.kind == "ranker":
        return workload.tables.candidates if workload.tables else 1.0
    return serving.steps * (TOKENS_PER_QUERY if model.kind == "encoder" else TOKENS_PER_IMAGE)
