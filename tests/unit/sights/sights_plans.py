# ruff: noqa: E501
"""A rich plan, as a planner would make it, and the rows of a map to place it on."""

from __future__ import annotations

from sextant.axes import AXES, Axis, Coordinates
from sextant.plan.quantity import (
    Budget,
    Ceiling,
    Hardest,
    Lean,
    Mark,
    Nearest,
    Plan,
    Quantity,
    Stage,
    Step,
    Striking,
)
from sextant.sights.map_row import MapRow


def at(spread: str, refused: str = "") -> Coordinates:
    """Coordinates from the first letters: data, training, model, inference, coordination, apart."""
    letters = dict(zip("dtmica", AXES, strict=True))
    return Coordinates(
        spread=frozenset(letters[c] for c in spread), refused=frozenset(letters[c] for c in refused)
    )


ROWS = tuple(
    MapRow(title=title, coordinates=at(spread, refused), ceiling=ceiling)
    for title, spread, refused, ceiling in (
        ("Web-scale RAG", "dmic", "", "data 15.4x"),
        ("Planetary recommender", "dtmic", "", "data 2,000x"),
        ("Foundation pretraining", "dtmc", "", "compute 24,000x"),
        ("Drone swarm", "ica", "", "latency 2x"),
        ("Federated imaging", "tc", "d", "custody 20x"),
        ("Live moderation", "dmic", "", "throughput 300x"),
        ("Agentic RAG", "dmica", "", "data 15.4x"),
        ("DiLoCo pretraining", "dtmc", "", "compute 900x"),
        ("MoE serving", "mic", "", "model 14x"),
    )
)


def quantity(
    name: str, value: float, unit: str, spread: float, because: str, source: str
) -> Quantity:
    """A quantity whose interval is its value divided and multiplied by `spread`."""
    return Quantity(
        name=name, value=value, unit=unit, low=value / spread, high=value * spread,
        because=because, source=source,
    )  # fmt: skip


_LAW = "the dimensions of an array"
_HNSW = (
    "Malkov and Yashunin 2016, Efficient and robust approximate nearest neighbor search, section 4"
)
_FAISS = "Faiss wiki, Indexing 1G vectors, 2024; checked against this machine's probe"
_TAIL = "Dean and Barroso 2013, The Tail at Scale: the slowest of N"
_KV = "Pope et al. 2022, Efficiently Scaling Transformer Inference, section 2"
_PRICE = "facts: list prices on demand, 2025-06"

QUANTITIES = (
    quantity("index_raw_bytes", 30.72e12, "B", 1.0, "10 billion vectors x 768 dims x 4 B", _LAW),
    quantity("index_pq_bytes", 0.72e12, "B", 1.05, "10 billion x (64 B of code + 8 B of id)", _FAISS),
    quantity("index_hnsw_bytes", 33.3e12, "B", 1.06, "raw + 10 billion x 32 links x 2 x 4 B", _HNSW),
    quantity("index_bytes", 0.72e12, "B", 1.05, "the chosen form: PQ64 behind an IVF of 1,048,576 lists", _FAISS),
    quantity("num_shards_raw", 20, "", 1.0, "30.72 TB / (2 TB x 80% of memory), rounded up", _LAW),
    quantity("num_shards", 32, "", 1.0, "a scan of one shard in 8 ms needs 312 million vectors a shard", _FAISS),
    quantity("num_replicas", 3, "", 1.34, "100 queries/s x 1.4 for peaks / 62 a replica, rounded up", _FAISS),
    quantity("num_machines", 98, "", 1.3, "32 shards x 3 replicas + 2 for merging", _LAW),
    quantity("embed_s", 4.1e-3, "s", 1.5, "one query of 24 tokens through 12 layers on one accelerator", _KV),
    quantity("shard_search_p50_s", 7.9e-3, "s", 1.6, "64 of 1,048,576 lists x 298 codes x 64 B at 18 GB/s + 6.2 ms", _FAISS),
    quantity("fan_out_p99_s", 19.4e-3, "s", 1.5, "p99 of the slowest of 32: each shard's 99.97th percentile", _TAIL),
    quantity("merge_s", 0.35e-3, "s", 1.5, "32 x 10 candidates through a heap", _LAW),
    quantity("retrieval_s", 23.9e-3, "s", 1.5, "embed + fan-out + merge", _TAIL),
    quantity("answer_s", 0.61, "s", 1.4, "2,000 tokens of prompt + 200 of answer at 8-way tensor parallelism", _KV),
    quantity("query_p99_s", 0.705, "s", 1.4, "retrieval + p99 of the answer under 70% load", _TAIL),
    quantity("queries_per_s_per_shard", 62, "/s", 1.5, "1 / 7.9 ms x 0.49 at the load that keeps the p99", _TAIL),
    quantity("recall_lost_per_shard", 1 / 32, "fraction", 1.1, "one shard of 32 holds 1/32 of the true ten", _LAW),
    quantity("kv_bytes_per_token", 327680, "B", 1.0, "2 x 80 layers x 8 heads x 128 x 2 B", _KV),
    quantity("tensor_parallel_degree", 4, "", 1.0, "141 GB of weights + 58 GB of cache over 80 GB each, to a power of two", _KV),
    quantity("corpus_embed_s", 1.9e6, "s", 1.5, "10 billion passages x 200 tokens / 1.05 million tokens/s on 64 accelerators", _KV),
    quantity("cost_usd_per_month", 412_000, "USD", 1.3, "98 machines x $2.10/h + 16 accelerators x $2.99/h, 730 h", _PRICE),
)  # fmt: skip


def rag_plan() -> Plan:
    """Web-scale retrieval with everything that a plan may hold."""
    return Plan(
        workload="web-scale-rag",
        does="answers questions from ten billion passages of the web, with citations, in about a second",
        machine="h100-80gb-sxm",
        coordinates=at("dmic"),
        marks=tuple(
            Mark(axis=axis, state="spread" if axis in at("dmic").spread else "whole",
                 ratio=15.4 if axis is Axis.DATA else None, because=f"why {axis}")
            for axis in AXES
        ),
        ceilings=(
            Ceiling(name="data", axis=Axis.DATA, demand=30.72e12, capacity=2e12, unit="B",
                    because="10 billion vectors x 768 dims x 4 B = 30.72 TB; memory 2 TB: 15.4x"),
            Ceiling(name="throughput", axis=Axis.INFERENCE, demand=100, capacity=14.2, unit="/s",
                    because="100 requests/s; one replica (a machine) serves 14.2 /s: 7.04x"),
            Ceiling(name="model", axis=Axis.MODEL, demand=141e9, capacity=80e9, unit="B",
                    because="70.6 billion parameters of the answerer x 2 B = 141 GB; one accelerator holds 80 GB: 1.76x"),
        ),
        headroom=(
            Ceiling(name="data", axis=Axis.DATA, demand=10e12, capacity=30e12, unit="B",
                    because="10 billion records x 1 kB = 10 TB; disk 30 TB: 0.333x"),
            Ceiling(name="model", axis=Axis.MODEL, demand=0.22e9, capacity=80e9, unit="B",
                    because="110 million parameters of the embedder x 2 B = 220 MB; one accelerator holds 80 GB: 0.003x"),
        ),
        order=(
            Step(axis=Axis.DATA, because="the index is 15.4 times one machine's memory: nothing answers before it is split", cost="32 shards; every query waits for the slowest of them"),
            Step(axis=Axis.MODEL, because="the answering model does not fit one accelerator", cost="4-way tensor parallelism: 160 all-reduces a token"),
            Step(axis=Axis.INFERENCE, because="100 requests/s are 7 times what one replica serves", cost="3 replicas of each shard, 8 of the answerer"),
            Step(axis=Axis.COORDINATION, because="the parts of all these must agree on who holds what, and by when", cost="one merge, one membership, one deadline in every message"),
        ),
        striking=Striking(number="30.72 TB", because="10 billion passages x 768 dims x 4 B: the raw vectors of an index that one machine's memory holds a fifteenth of"),
        nearest=Nearest(name="live-moderation", distance=0),
        hardest=Hardest(what="Merging the slowest of 32 shards before the deadline", axis=Axis.COORDINATION,
                        because="a query is as slow as its slowest shard: the p99 of the whole is each shard's 99.97th percentile; hedged requests and partial answers buy it back"),
        layout={"index": "IVF1048576,PQ64", "shards": 32, "replicas": 3, "tensor_parallel": 4},
        quantities={q.name: q for q in QUANTITIES},
        lean=Lean(
            busy={Axis.DATA: 0.38, Axis.MODEL: 0.17, Axis.INFERENCE: 0.43, Axis.COORDINATION: 0.02},
            waiting={Axis.COORDINATION: 0.81, Axis.MODEL: 0.19},
        ),
        budget=Budget(
            allowed_s=1.0,
            what="one answer",
            stages=(
                Stage(name="embed the query", axis=Axis.INFERENCE, seconds=4.1e-3),
                Stage(name="fan out and scan", axis=Axis.DATA, seconds=19.4e-3),
                Stage(name="merge", axis=Axis.COORDINATION, seconds=0.4e-3),
                Stage(name="wait for a slot", axis=Axis.COORDINATION, seconds=71e-3),
                Stage(name="read the prompt", axis=Axis.INFERENCE, seconds=0.11),
                Stage(name="write the answer", axis=Axis.MODEL, seconds=0.5),
            ),
        ),
        risks=(
            "single point of failure: the merger; run two behind one address",
            "timeouts: the shard's hedge at 12 ms must stay under the fan-out's deadline of 40 ms",
            "a lost shard costs 3.1% of recall until its replica answers",
        ),
        assumptions=(
            "100 requests/s: 8.6 million questions a day, the order of an answer engine in 2025",
            "a passage of about 200 words of English is about 1 kB",
            "the usual three nines of a user-facing service",
        ),
    )  # fmt: skip
