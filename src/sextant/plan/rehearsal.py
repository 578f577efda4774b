"""What a rehearsal of retrieval should measure on this machine, from the probe's unit costs.

Nothing here has seen a run of the system: inputs are the scaled shape, the probe's microbenchmarks
and the factors of facts. The names are those that the rehearsal measures under.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sextant.axes import Axis
from sextant.errors import InputError
from sextant.facts import Facts, Machine
from sextant.laws import local
from sextant.plan.part import exact, within
from sextant.plan.quantity import Lean, Quantity
from sextant.units import show, show_seconds

_LAW = "laws/local.py with the probe's unit costs"
_P99 = 2.326
_HITS_A_DOCUMENT = 4.0
_PROBED_VECTORS = 256
_PROBED_ROWS = 10
_CACHED_VECTORS = 4000


@dataclass(frozen=True, kw_only=True, slots=True)
class RetrievalShape:
    """A scaled retrieval system: what runs, in plain numbers.

    `passage_tokens` is the mean over the corpus at hand; `precision` is `fp32` or `bf16`.
    """

    passages: int
    shards: int
    dims: int
    k: int
    layers: int
    hidden: int
    ffn: int
    passage_tokens: float
    precision: str
    clients: int
    questions: int


def predict_retrieval(
    shape: RetrievalShape, here: Machine, facts: Facts
) -> tuple[tuple[Quantity, ...], Lean]:
    """Every quantity that the rehearsal measures, with an 80% interval, and the lean.

    Raises:
        InputError: this machine has not been probed with the engines installed.
    """
    cost = here.measured
    try:
        return _predict(shape, here, facts, dict(cost))
    except KeyError as missing:
        what = f"the probe of this machine lacks {missing.args[0]}"
        raise InputError(what, hint="install the extra [rag], then `sextant probe`") from None


def _predict(
    shape: RetrievalShape, here: Machine, facts: Facts, cost: dict[str, float]
) -> tuple[tuple[Quantity, ...], Lean]:
    sizes = _sizes(shape, facts, cost)
    times, seconds = _times(shape, here.cores, facts, cost)
    lean = _lean(shape, facts, seconds)
    return (*sizes, *times), lean


def _sizes(shape: RetrievalShape, facts: Facts, cost: dict[str, float]) -> list[Quantity]:
    raw = local.flat_index_bytes(shape.passages, shape.dims)
    product = f"{shape.passages:,} passages x {shape.dims} dims x 4 B = {show(raw, 'B')}"
    empty = cost["member_memory_bytes"] * facts.value("member_over_process_memory")
    member = empty + raw / shape.shards
    left = 1.0 - 1.0 / shape.shards
    # Hits of one question come from a few documents, so they are not ten independent draws.
    draws = shape.questions * max(1.0, shape.k / _HITS_A_DOCUMENT)
    scatter = 1.2816 * math.sqrt(left * (1.0 - left) / draws)
    return [
        exact("index_raw_bytes", raw, "B", product, "arithmetic"),
        within(
            "index_bytes", raw, "B", 1.02, f"{product}, flat", "Faiss: a flat index is its vectors"
        ),
        within(
            "shard_memory_bytes",
            member,
            "B",
            1.25,
            f"a member without vectors, {show(empty, 'B')}, + its share of them",
            _LAW,
        ),
        Quantity(
            name="recall_without_a_shard",
            value=left,
            unit="fraction",
            low=left - scatter,
            high=min(1.0, left + scatter),
            because=f"documents go to shards by hash, so 1 - 1/{shape.shards} of the true "
            f"{shape.k} remain",
            source="laws/recall.py",
        ),
    ]


def _times(
    shape: RetrievalShape, cores: int, facts: Facts, cost: dict[str, float]
) -> tuple[list[Quantity], dict[str, float]]:
    kind = shape.precision
    rate = local.embedding_passages_per_s(
        shape.passage_tokens,
        shape.layers,
        shape.hidden,
        shape.ffn,
        cost[f"encoder_{kind}_flops_per_s"],
        fixed_s=facts.value("tokenize_passage_s"),
    )
    widths = (shape.hidden / 384.0) ** 2
    embed = shape.layers * cost[f"encoder_{kind}_short_layer_s"] * max(1.0, widths)
    embed = embed * facts.value("encode_over_layers") + facts.value("encode_fixed_s")
    handle = cost["woken_search_s"] * facts.value("handle_over_woken")
    handle += _extra_scan_s(shape, cost)
    factor = facts.value("fan_out_over_wire")
    base, each = cost["wire_base_s"] * factor, cost["wire_per_member_s"] * factor
    extra = local.shards_search_s(_extra_scan_s(shape, cost), shape.shards, cores)
    fan_out = base + shape.shards * each + extra
    merge = shape.shards * shape.k / _PROBED_ROWS * cost["gathered_merge_s"]
    merge *= facts.value("merge_over_probe")
    query = embed + fan_out + merge
    tail = math.exp(_P99 * min(cost["wire_log_sigma"], 0.35))
    p99 = embed * math.exp(_P99 * 0.08) + fan_out * tail + merge
    ready = shape.shards * cost["member_start_s"] / cores * facts.value("gang_over_process")
    spent = (embed + fan_out * facts.value("fan_out_busy_cores") + merge) / cores
    parts = f"embed {show_seconds(embed)} + fan-out {show_seconds(fan_out)}"
    parts += f" + merge {show_seconds(merge)}"
    flops = show(cost[f"encoder_{kind}_flops_per_s"], "FLOP/s")
    tokens = f"{shape.passage_tokens:.0f} tokens a passage"
    quantities = [
        within("embed_passages_per_s", rate, "/s", 1.3, f"{tokens} at {flops} of a layer", _LAW),
        within("embed_query_s", embed, "s", 1.4, f"{shape.layers} layers over a short text", _LAW),
        within(
            "shard_search_s",
            handle,
            "s",
            1.5,
            f"{facts.value('handle_over_woken'):g} x a woken process that scans 256 vectors",
            _LAW,
        ),
        within(
            "fan_out_s",
            fan_out,
            "s",
            1.5,
            f"{show_seconds(base)} + {shape.shards} x {show_seconds(each)}, scanning included",
            _LAW,
        ),
        within("merge_s", merge, "s", 1.5, f"{shape.shards} x {shape.k} candidates", _LAW),
        within("query_p50_s", query, "s", 1.35, parts, _LAW),
        within("query_p99_s", p99, "s", 1.55, f"{parts}, with the wire's tail", _LAW),
        within(
            "queries_per_s",
            1.0 / spent,
            "/s",
            1.4,
            f"{shape.clients} clients; one query keeps the cores for {show_seconds(spent)}",
            _LAW,
        ),
        within(
            "gang_ready_s",
            ready,
            "s",
            1.5,
            f"{shape.shards} processes x {show_seconds(cost['member_start_s'])} on {cores} cores",
            _LAW,
        ),
    ]
    return quantities, {"embed": embed, "handle": handle, "fan_out": fan_out, "merge": merge}


def _extra_scan_s(shape: RetrievalShape, cost: dict[str, float]) -> float:
    """Scanning what a shard holds beyond the probe's vectors, at the bandwidth of its size."""
    more = shape.passages / shape.shards - _PROBED_VECTORS
    rate = (
        cost["faiss_cached_bytes_per_s"]
        if more < _CACHED_VECTORS
        else cost["faiss_scan_bytes_per_s"]
    )
    return local.flat_scan_s(max(0.0, more), shape.dims, 4.0, rate, 0.0)


def _lean(shape: RetrievalShape, facts: Facts, seconds: dict[str, float]) -> Lean:
    """Shares of a query's busy time by axis; who asks waits for the fan-out: coordination."""
    busy = {
        Axis.DATA: shape.shards * seconds["handle"] * facts.value("handle_busy_share"),
        Axis.INFERENCE: seconds["embed"],
        Axis.COORDINATION: facts.value("ask_busy_share") * seconds["fan_out"] + seconds["merge"],
    }
    total = sum(busy.values())
    return Lean(
        busy={axis: value / total for axis, value in busy.items()},
        waiting={Axis.COORDINATION: 1.0},
    )
