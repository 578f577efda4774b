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
_EMBED_SIGMA, _WIDEST_SIGMA = 0.2, 0.35
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
    took = _seconds(shape, here.cores, facts, cost)
    latencies = _latencies(shape, took, facts, cost)
    rates = _rates(shape, here.cores, took, facts, cost)
    return (*sizes, *latencies, *rates), _lean(shape, facts, took)


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
            1.1,
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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seconds:
    """What the stages of one query take, in seconds, on this machine."""

    embed: float
    handle: float
    base: float
    each: float
    fan_out: float
    merge: float
    rest: float

    @property
    def query(self) -> float:
        return self.embed + self.fan_out + self.merge + self.rest


def _seconds(shape: RetrievalShape, cores: int, facts: Facts, cost: dict[str, float]) -> _Seconds:
    wider = max(1.0, (shape.hidden / 384.0) ** 2)
    layers = shape.layers * cost[f"encoder_{shape.precision}_short_layer_s"] * wider
    scan = _extra_scan_s(shape, cost)
    factor = facts.value("fan_out_over_wire")
    base, each = cost["wire_base_s"] * factor, cost["wire_per_member_s"] * factor
    a_hit = facts.value("merge_hit_over_probe")
    return _Seconds(
        embed=layers * facts.value("encode_over_layers") + facts.value("encode_fixed_s"),
        handle=cost["woken_search_s"] * facts.value("handle_over_woken") + scan,
        base=base,
        each=each,
        fan_out=base + shape.shards * each + local.shards_search_s(scan, shape.shards, cores),
        merge=_merge_s(shape, facts, cost),
        rest=cost["merge_base_s"] * (facts.value("rest_over_probe") + shape.k * a_hit),
    )


def _latencies(
    shape: RetrievalShape, took: _Seconds, facts: Facts, cost: dict[str, float]
) -> list[Quantity]:
    """One question, stage by stage, and its median and p99."""
    tail = math.exp(_P99 * min(cost["wire_log_sigma"], _WIDEST_SIGMA))
    p99 = took.embed * math.exp(_P99 * _EMBED_SIGMA) + took.fan_out * tail + took.merge + took.rest
    parts = f"embed {show_seconds(took.embed)} + fan-out {show_seconds(took.fan_out)}"
    parts += f" + merge {show_seconds(took.merge)} + the rest {show_seconds(took.rest)}"
    woken = f"{facts.value('handle_over_woken'):g} x a woken process that scans 256 vectors"
    sent = f"{show_seconds(took.base)} + {shape.shards} x {show_seconds(took.each)}"
    rows = (
        ("embed_query_s", took.embed, 1.22, f"{shape.layers} layers over a short text"),
        ("shard_search_s", took.handle, 1.15, woken),
        ("fan_out_s", took.fan_out, 1.2, f"{sent}, scanning included"),
        (
            "merge_s",
            took.merge,
            1.3,
            f"{shape.shards} replies and {shape.k} hits, and a fixed part",
        ),
        ("query_p50_s", took.query, 1.2, parts),
        ("query_p99_s", p99, 1.25, f"{parts}, with the wire's tail"),
    )
    return [within(name, value, "s", spread, why, _LAW) for name, value, spread, why in rows]


def _rates(
    shape: RetrievalShape, cores: int, took: _Seconds, facts: Facts, cost: dict[str, float]
) -> list[Quantity]:
    """How fast passages are embedded, questions answered, and the gang started."""
    flops = cost[f"encoder_{shape.precision}_flops_per_s"]
    rate = local.embedding_passages_per_s(
        shape.passage_tokens,
        shape.layers,
        shape.hidden,
        shape.ffn,
        flops * facts.value("embed_over_layer"),
        fixed_s=facts.value("tokenize_passage_s"),
    )
    spent = took.embed + took.fan_out * facts.value("fan_out_busy_cores") + took.merge + took.rest
    spent /= cores
    start = cost["member_start_s"]
    # One process starts on one core, however many there are.
    ready = max(1.0, shape.shards / cores) * start * facts.value("gang_over_process")
    tokens = f"{shape.passage_tokens:.0f} tokens a passage at {show(flops, 'FLOP/s')} of a layer"
    busy = f"{shape.clients} clients; one query keeps the cores for {show_seconds(spent)}"
    started = f"{shape.shards} processes x {show_seconds(start)} on {cores} cores"
    return [
        within("embed_passages_per_s", rate, "/s", 1.22, tokens, _LAW),
        within("queries_per_s", 1.0 / spent, "/s", 1.22, busy, _LAW),
        within("gang_ready_s", ready, "s", 1.2, started, _LAW),
    ]


def _merge_s(shape: RetrievalShape, facts: Facts, cost: dict[str, float]) -> float:
    """Unpacking N replies and making K hits of them, in the probe's own merge of ten rows.

    Only the K hits that are returned are unpacked, however many came: `base (fixed + K hit) + N
    reply`.
    """
    fixed = facts.value("merge_fixed_over_probe") + shape.k * facts.value("merge_hit_over_probe")
    reply = cost["merge_per_reply_s"] * facts.value("merge_reply_over_probe")
    return cost["merge_base_s"] * fixed + shape.shards * reply


def _extra_scan_s(shape: RetrievalShape, cost: dict[str, float]) -> float:
    """Scanning what a shard holds beyond the probe's vectors, at the bandwidth of its size."""
    more = shape.passages / shape.shards - _PROBED_VECTORS
    rate = (
        cost["faiss_cached_bytes_per_s"]
        if more < _CACHED_VECTORS
        else cost["faiss_scan_bytes_per_s"]
    )
    return local.flat_scan_s(max(0.0, more), shape.dims, 4.0, rate, 0.0)


def _lean(shape: RetrievalShape, facts: Facts, took: _Seconds) -> Lean:
    """Shares of a query's busy time by axis; who asks waits for the fan-out: coordination."""
    busy = {
        Axis.DATA: shape.shards * took.handle * facts.value("handle_busy_share"),
        Axis.INFERENCE: took.embed,
        Axis.COORDINATION: facts.value("ask_busy_share") * took.fan_out + took.merge,
    }
    total = sum(busy.values())
    return Lean(
        busy={axis: value / total for axis, value in busy.items()},
        waiting={Axis.COORDINATION: 1.0},
    )
