"""A workload: what the user knows of a system before any code exists."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from sextant.workload.fields import (
    Bytes,
    BytesPerSecond,
    Count,
    Fraction,
    Metres,
    MetresPerSecond,
    Number,
    Parameters,
    PerSecond,
    Probability,
    Seconds,
    SecondsFromZero,
    Size,
    Whole,
    WholeFromZero,
)

DTYPE_BYTES = {
    "fp64": 8.0,
    "fp32": 4.0,
    "tf32": 4.0,
    "fp16": 2.0,
    "bf16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "uint8": 1.0,
    "fp4": 0.5,
    "int4": 0.5,
}
Dtype = Literal["fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "int8", "uint8", "fp4", "int4"]
Optimizer = Literal["sgd", "momentum", "adagrad", "rowwise_adagrad", "adam", "adamw", "muon"]
OPTIMIZER_STATES = {
    "sgd": 0.0,
    "momentum": 1.0,
    "adagrad": 1.0,
    "rowwise_adagrad": 0.0,
    "adam": 2.0,
    "adamw": 2.0,
    "muon": 1.0,
}
"""Numbers of optimizer state kept per parameter (row-wise Adagrad keeps one per row)."""


class Table(BaseModel):
    """A table of the TOML file: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Corpus(Table):
    """What must be read: records of text, images, or logs."""

    records: Count
    bytes_per_record: Bytes = 1000.0
    read_within: Seconds | None = None
    """All of it must pass through a machine in this time (logs of a day in a day)."""
    may_leave_site: bool = True


class Index(Table):
    """A vector index; `vectors` defaults to one a record of the corpus."""

    vectors: Count | None = None
    dims: Whole = 768
    dtype: Dtype = "fp32"
    recall: Fraction = 0.95
    k: Whole = 10


class Tables(Table):
    """Embedding tables of a recommender."""

    rows: Count
    dims: Whole = 128
    dtype: Dtype = "fp32"
    lookups_per_sample: Number = 100.0
    optimizer: Optimizer = "rowwise_adagrad"
    zipf_exponent: Annotated[float, Field(gt=0, le=4)] = 1.05
    """Skew of the accesses: rank r is touched in proportion to r^-exponent."""
    candidates: Number = 500.0
    """Items ranked for one request."""


class Model(Table):
    """A dense or mixture-of-experts network: its parameters, or the shape that gives them."""

    parameters: Parameters | None = None
    active_parameters: Parameters | None = None
    layers: Size | None = None
    hidden: Size | None = None
    heads: Size | None = None
    kv_heads: Size | None = None
    head_dim: Size | None = None
    ffn: Size | None = None
    vocab: Size | None = None
    sequence: Size | None = None
    mlp: Literal["gelu", "swiglu"] = "swiglu"
    tied_embeddings: bool = False
    experts: Size | None = None
    active_experts: Size | None = None
    shared_experts: WholeFromZero = 0
    expert_ffn: Size | None = None
    dense_layers: WholeFromZero = 0
    attention: Literal["mha", "mla"] = "mha"
    query_rank: WholeFromZero = 0
    kv_rank: Size | None = None
    rope_head_dim: Size | None = None
    value_head_dim: Size | None = None
    sliding_window: WholeFromZero = 0
    """Tokens that `sliding_window_layers` of the layers (all, if not said) attend to."""
    sliding_window_layers: Size | None = None
    mtp_layers: WholeFromZero = 0
    """Extra multi-token-prediction layers."""
    dtype: Dtype = "bf16"
    kind: Literal["decoder", "encoder", "vision", "ranker"] = "decoder"


class Training(Table):
    """A training job."""

    tokens: Count | None = None
    samples: Count | None = None
    bytes_per_sample: Bytes | None = None
    global_batch: Whole | None = None
    """Sequences (of a language model) or samples in one optimizer step."""
    finish_within: Seconds = 30 * 86400.0
    optimizer: Optimizer = "adamw"
    precision: Literal["bf16", "fp16", "fp8", "fp4", "fp32"] = "bf16"
    recompute: Literal["none", "selective", "full", "auto"] = "auto"
    inner_steps: Whole | None = None
    """Steps between exchanges of islands that train apart (DiLoCo's H)."""


class Serving(Table):
    """Requests and what they ask for."""

    requests_per_s: PerSecond
    deadline: Seconds = 1.0
    prompt_tokens: Number = 1000.0
    output_tokens: Number = 200.0
    steps: Number = 1.0
    """Calls of the model that one request makes (an agent's turns)."""
    availability: Probability = 0.999


class Agents(Table):
    """Agents that sense, decide and act: drones, or language-model agents."""

    count: Whole
    control_period: Seconds | None = None
    perceive_time: SecondsFromZero = 0.0
    decide_time: SecondsFromZero = 0.0
    perceive_at: Literal["agent", "centre"] = "agent"
    round_trip: SecondsFromZero = 0.0
    """To the centre that could decide for them, at its worst in normal service."""
    best_round_trip: SecondsFromZero | None = None
    edge_round_trip: SecondsFromZero | None = None
    link_may_fail: bool = False
    longest_outage: SecondsFromZero | None = None
    tolerable_hold: SecondsFromZero | None = None
    decide_apart: bool = False
    speed: MetresPerSecond | None = None
    sensing_range: Metres | None = None
    radius: Metres = 0.3
    acceleration: Number = 5.0
    message_bytes: Bytes = 200.0


class StreamStage(Table):
    """A stage that every second of a stream passes through."""

    name: Annotated[str, Field(min_length=1, max_length=40)]
    seconds: SecondsFromZero
    """Machine seconds for one second of stream, on one accelerator (or core)."""


class Streams(Table):
    """Live streams: video or audio that must be looked at as it arrives."""

    count: Count
    bytes_per_s: BytesPerSecond = 500e3
    seconds_per_second: Number = 0.01
    """Accelerator seconds to decode and embed one second of one stream; `stages` come on top."""
    stages: list[StreamStage] = Field(default=[], max_length=20)


class Sites(Table):
    """Places that hold data: hospitals, islands of accelerators."""

    count: Whole
    records_per_site: Count | None = None
    may_export: bool = True
    link: BytesPerSecond = 12.5e6
    link_round_trip: SecondsFromZero = 0.05
    round_deadline: Seconds | None = None
    rounds: Whole = 100
    seconds_per_record: SecondsFromZero = 0.01
    dropout: Probability = 0.1


class FleetSpec(Table):
    """The machines meant for it."""

    machine: Annotated[str, Field(max_length=80)] = "h100-80gb-sxm"
    count: Whole | None = None


_KINDS = {
    "embedder": "encoder",
    "encoder": "encoder",
    "ranker": "ranker",
    "perception": "vision",
    "classifier": "vision",
}
"""What a model of this name is, where its table does not say."""


def _models(value: Any) -> Any:
    """`[model]` is one model; `[model.NAME]` are several."""
    if isinstance(value, dict) and value and all(isinstance(v, dict) for v in value.values()):
        return {
            name: {"kind": _KINDS[name], **body} if name in _KINDS else body
            for name, body in value.items()
        }
    return {"model": value}


Models = Annotated[dict[str, Model], BeforeValidator(_models), Field(max_length=16)]


class Workload(Table):
    """The whole of a TOML file. Each table is optional; at least one is needed."""

    name: Annotated[str, Field(min_length=1, max_length=80)] = "workload"
    title: Annotated[str, Field(max_length=80)] | None = None
    """How the map's row calls it."""
    does: Annotated[str, Field(max_length=400)] = ""
    corpus: Corpus | None = None
    index: Index | None = None
    tables: Tables | None = None
    model: Models = {}
    training: Training | None = None
    serving: Serving | None = None
    agents: Agents | None = None
    streams: Streams | None = None
    sites: Sites | None = None
    fleet: FleetSpec = FleetSpec()
    sources: dict[str, str] = {}
    """`table.field` -> where the fact is from, or `assumption: why`."""

    @property
    def num_vectors(self) -> float:
        """Vectors of the index: stated, or one a record of the corpus."""
        if self.index is None:
            return 0.0
        if self.index.vectors is not None:
            return self.index.vectors
        return self.corpus.records if self.corpus is not None else 0.0
