"""Published figures that are not training steps: matrix products, exchanges, serving, failures.

A prediction reads `kind`, `case` and `given` of a row and nothing else. What a law can say of a
row is set beside what was measured; other rows are listed with the reason.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sextant.errors import SextantError
from sextant.facts import Facts
from sextant.laws import experts, serving
from sextant.laws.failures import mtbf_s
from sextant.laws.machine import accelerator_of, constants_of
from sextant.plan.backtest_rows import UnpredictableError, legible

Figures = dict[str, float]
"""What a law says of a row, by the name of the figure."""

LAYERS, HIDDEN = 40, 5120
"""Of a GPT of 13 billion parameters. Source: Brown et al. 2020, arXiv 2005.14165, table 2.1."""
SERVED = {"Qwen3-30B-A3B-BF16": (2.73e9, 148e12), "Qwen3-8B-FP8": (6.95e9, 296e12)}
"""Active parameters without embeddings, and the dense peak of an H20 at the name's precision.

Source: Qwen Team 2025, arXiv 2505.09388, tables 1 and 2 (arithmetic on the shapes); NVIDIA H20
data sheet.
"""
_MOST = 1e300
REASONS = {
    "serving-harness": "arrival rates and lengths of prompts are not given",
    "cluster-failures": "a rate of failures is an observation; no law gives it",
    "gpu-errors": "a rate of failures is an observation; no law gives it",
    "goodput": "neither checkpoints nor restarts are given",
    "checkpoint": "the storage's bandwidth is not given",
    "wan-diloco": "neither the link nor the time of a step is given",
    "embedding-bag": "batch and lengths are not given",
    "recommender-claim": "a ratio to a system that is not described",
    "utilisation": "facts have no such accelerator",
    "swarm-planning": "the processor and the map are not given",
    "sense-to-act": "a closed form without figures",
    "federated": "nothing is measured",
}
"""Why no law takes the rows of a case."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """One row: what the laws say of it beside what was measured."""

    id: str
    case: str
    predicted: Mapping[str, float]
    measured: Mapping[str, float]

    @property
    def errors(self) -> tuple[float, ...]:
        """Relative errors of the figures that were both predicted and measured."""
        both = self.predicted.keys() & self.measured.keys()
        return tuple(self.predicted[k] / self.measured[k] - 1.0 for k in sorted(both))


@dataclass(frozen=True, kw_only=True, slots=True)
class OtherReport:
    """Rows that a law takes, and the others with the reason."""

    said: tuple[Said, ...]
    unpredictable: Mapping[str, str]

    def joined(self, report: dict[str, Any]) -> dict[str, Any]:
        """A backtest's report with these rows; as it was, where there are none."""
        if not (self.said or self.unpredictable):
            return report
        refused = [{"id": name, "reason": why} for name, why in self.unpredictable.items()]
        said = [
            {
                "id": one.id,
                "case": one.case,
                "predicted": dict(one.predicted),
                "measured": dict(one.measured),
            }
            for one in self.said
        ]
        return {**report, "others": said, "unpredictable": [*report["unpredictable"], *refused]}

    def by_case(self) -> dict[str, tuple[int, int, float, float]]:
        """Rows, figures, mean error and bias of each case."""
        found: dict[str, list[Said]] = defaultdict(list)
        for one in self.said:
            found[one.case].append(one)
        scores = {}
        for case, rows in found.items():
            off = [error for one in rows for error in one.errors]
            if off:
                mean = sum(abs(e) for e in off) / len(off)
                scores[case] = (len(rows), len(off), mean, sum(off) / len(off))
        return scores


def is_other(row: object) -> bool:
    """Whether a row is of this kind: it has `kind` and `given`, and no model."""
    return isinstance(row, Mapping) and "kind" in row and "given" in row and "model" not in row


def score_others(
    rows: Sequence[Mapping[str, Any]], facts: Facts, taken: Collection[str] = ()
) -> OtherReport:
    """Every row predicted from what is given, or set apart; as are second rows of an id.

    `taken` are the ids of rows that are scored elsewhere in the same report.
    """
    said: list[Said] = []
    refused: dict[str, str] = {}
    known = set(taken)
    for place, row in enumerate(rows, start=1):
        name = legible(row.get("id") or f"other row {place}")
        if name in known:
            refused[f"other row {place}"] = f"its id is that of another row: {name}"
            continue
        known.add(name)
        case = legible(row.get("case", row["kind"]))
        try:
            predicted = predicted_of(case, row["given"], facts)
        except UnpredictableError as why:
            refused[name] = legible(why.what)
            continue
        measured = row.get("measured")
        told = measured.items() if isinstance(measured, Mapping) else ()
        seen = {k: float(v) for k, v in told if _is_figure(v)}
        if "dispatch_s" in seen and "combine_s" in seen:
            seen["dispatch_and_combine_s"] = seen["dispatch_s"] + seen["combine_s"]
        said.append(Said(id=name, case=case, predicted=predicted, measured=seen))
    return OtherReport(said=tuple(said), unpredictable=refused)


def _is_figure(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return 0 < value < _MOST and math.isfinite(value)


def predicted_of(case: str, given: Any, facts: Facts) -> Figures:
    """What the laws say of a row of such a case.

    Raises:
        UnpredictableError: no law takes it, or something is not given.
    """
    law = LAWS.get(case)
    if law is None:
        raise UnpredictableError(REASONS.get(case, f"no law for {case!r:.60}"))
    try:
        found = law(given, facts)
        if not all(_is_figure(value) for value in found.values()):
            raise UnpredictableError("what is given makes a figure that is not finite and positive")
        return found
    except UnpredictableError:
        raise
    except KeyError as missing:
        raise UnpredictableError(f"the row does not give {missing.args[0]}") from None
    except (TypeError, ValueError, AttributeError, ArithmeticError) as wrong:
        raise UnpredictableError(f"not a row that can be read: {wrong}") from None
    except SextantError as unknown:
        raise UnpredictableError(unknown.what) from None


def _matmul(given: Mapping[str, Any], facts: Facts) -> Figures:
    machine = facts.machine(str(given["accelerator"]).removesuffix("-sxm"))
    chip = accelerator_of(machine, facts.training)
    precision = given["precision"]
    return {"matmul_flops_per_s": chip.peak(precision) * chip.ceiling(precision)}


def _exchange_latency(given: Mapping[str, Any], facts: Facts) -> Figures:
    gpus, local = given["gpus"], given["gpus_per_node"]
    # All copies are counted, also of a token that goes to one rank twice: away is what leaves.
    sent = experts.all_to_all_bytes(given["tokens"], given["top_k"], given["hidden"], 1, 2, gpus)
    link = given["nic_bytes_per_s_per_gpu"]
    if gpus > local:
        sent *= (gpus - local) / (gpus - 1)
    else:
        fast = facts.machine(given["machine"]).fast_link_bytes_per_s
        link = fast * constants_of(facts.training).fast_share
    seconds = experts.all_to_all_s(sent, link, facts.value("all_to_all_latency_s"))
    return {"dispatch_and_combine_s": seconds}


def _exchange_bandwidth(given: Mapping[str, Any], facts: Facts) -> Figures:
    constants = constants_of(facts.training)
    nodes = given["gpus"] / given["gpus_per_node"]
    if nodes > 1:
        found = given["nic_bytes_per_s_per_gpu"] * constants.network_share
    else:
        name = {"blackwell": "b200", "hopper": "h100"}.get(given["machine"], given["machine"])
        found = facts.machine(name).fast_link_bytes_per_s * constants.fast_share
    if "top_groups" not in given:
        # Without groups bytes are logical: what stays on the node (or, in one node, on the rank)
        # is counted and costs nothing (DeepEP, second version).
        parts = nodes if nodes > 1 else given["gpus"]
        found *= parts / (parts - 1.0)
    return {"dispatch_bytes_per_s": found, "combine_bytes_per_s": found}


def _serving_latency(given: Mapping[str, Any], facts: Facts) -> Figures:
    machine, ways, size = facts.machine(given["machine"]), given["tp"], given["parameters"]
    if not 12e9 < size < 14e9:
        raise UnpredictableError("layers and width are not given")

    def passed(tokens: float, context: float) -> float:
        flops = serving.forward_flops(size, tokens, LAYERS, HIDDEN, context)
        work = serving.roofline_s(
            flops / ways,
            2.0 * size / ways,
            machine.flops_per_s("fp16") * facts.value("prefill_utilisation"),
            machine.unit_bandwidth_bytes_per_s * facts.value("decode_bandwidth_fraction"),
        )
        link, latency = machine.fast_link_bytes_per_s, facts.value("all_reduce_latency_s")
        sent = serving.tensor_parallel_exchange_s(LAYERS, tokens, HIDDEN, 2, ways, link, latency)
        return work + sent + facts.value("decode_step_fixed_s")

    prompt = given["prompt_tokens"]
    prefill, step = passed(prompt, prompt / 2), passed(1, prompt)
    total = prefill + given["output_tokens"] * step
    return {"prefill_s": prefill, "decode_s_per_token": step, "total_s": total}


def _serving_throughput(given: Mapping[str, Any], facts: Facts) -> Figures:
    if given["phase"] == "decode":
        raise UnpredictableError("the length of the caches is not given")
    if "ep" in given:
        raise UnpredictableError("how much of the exchange overlaps is not given")
    if given["model"] not in SERVED:
        raise UnpredictableError(f"the shape of {given['model']!r:.60} is not given")
    active, peak = SERVED[given["model"]]
    # How the tokens split into prompts is not given either: attention between them is left out.
    flops = serving.forward_flops(active, 1.0, 0, 0, 0)
    return {"tokens_per_s_per_gpu": peak * facts.value("prefill_utilisation") / flops}


def _mttf(given: Mapping[str, Any], _: Facts) -> Figures:
    nodes = given["gpus"] / given["gpus_per_node"]
    return {"mttf_s": mtbf_s(nodes, given["failures_per_node_per_s"])}


def _run_length(given: Mapping[str, Any], _: Facts) -> Figures:
    return {"run_s": given["tokens"] / given["tokens_per_step"] * given["step_s"]}


LAWS: Mapping[str, Callable[[Mapping[str, Any], Facts], Figures]] = {
    "matmul-ceiling": _matmul,
    "all-to-all-latency": _exchange_latency,
    "all-to-all-throughput": _exchange_bandwidth,
    "serving-latency": _serving_latency,
    "serving-throughput": _serving_throughput,
    "job-mttf": _mttf,
    "run-length": _run_length,
}
"""The law of each case that has one."""
