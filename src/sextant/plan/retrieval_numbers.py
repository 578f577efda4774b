"""The numbers of a retrieval plan, each with its arithmetic."""

from __future__ import annotations

from sextant.facts import Facts, Machine
from sextant.laws import recall
from sextant.plan.answering import Answering
from sextant.plan.lookup import LookUp, say_shards
from sextant.plan.part import exact, within
from sextant.plan.quantity import Quantity
from sextant.plan.question import Question, embed_corpus
from sextant.units import show, show_count, show_seconds
from sextant.workload import DTYPE_BYTES, Workload

FAISS = "Faiss wiki, Faiss indexes"
TAIL = "Dean and Barroso 2013, The Tail at Scale; order statistics"


def index_numbers(workload: Workload, lookup: LookUp) -> list[Quantity]:
    """Bytes of the index, in every form and in the chosen one."""
    assert workload.index is not None
    dims, element = workload.index.dims, DTYPE_BYTES[workload.index.dtype]
    count = show_count(workload.num_vectors)
    raw = workload.num_vectors * dims * element
    forms = {s.form.key: s.form for s in lookup.forms}
    flat, pq = forms["flat"].bytes_per_vector, forms["ivf_pq"]
    links = forms["hnsw"].bytes_per_vector - flat
    chosen = lookup.chosen
    each = show(chosen.form.bytes_per_vector, "B")
    return [
        exact(
            "index_raw_bytes",
            raw,
            "B",
            f"{count} vectors x {dims} dims x {element:g} B = {show(raw, 'B')}",
            "arithmetic",
        ),
        exact("bytes_per_vector_flat", flat, "B", f"{dims} dims x {element:g} B", FAISS),
        within(
            "bytes_per_vector_hnsw",
            forms["hnsw"].bytes_per_vector,
            "B",
            1.02,
            f"{flat:g} B + 2 x {links / 8:g} links x 4 B = {flat + links:g} B",
            FAISS,
        ),
        exact(
            "bytes_per_vector_pq",
            pq.bytes_per_vector,
            "B",
            f"a code of {pq.code_bytes:g} B ({dims} dims, 8 to a byte) + an id of 8 B",
            FAISS,
        ),
        within(
            "index_bytes",
            chosen.index_bytes,
            "B",
            1.05,
            f"{count} vectors x {each} ({chosen.form.title}) = {show(chosen.index_bytes, 'B')}",
            FAISS,
        ),
    ]


def shard_numbers(lookup: LookUp, facts: Facts) -> list[Quantity]:
    """Shards, copies and servers, and what one shard does."""
    c, n = lookup.chosen, float(lookup.chosen.num_shards)
    limit = facts.value("largest_lost_shard_recall")
    fits = (
        f"{show(c.index_bytes, 'B')} / {show(lookup.usable_bytes, 'B')} usable memory "
        f"= {show_count(c.capacity_shards)} for capacity"
    )
    if c.num_shards > c.capacity_shards:
        fits += f"; {show_count(n)} so that a lost one costs at most {limit:.0%} of recall"
    load, rate = facts.value("retrieval_load"), lookup.lookups_per_s
    copies = (
        f"{show_count(rate)} look-ups/s over {show_count(c.queries_per_s)}/s a shard at a load of "
        f"{load:.0%}, and a spare for availability"
    )
    lost = recall.lost_shard_recall(n)
    reads = f"{show_count(c.vectors_read)} vectors = {show(c.read_bytes, 'B')} a query"
    policy = "facts: index_usable_memory_fraction, largest_lost_shard_recall"
    return [
        exact("num_shards", n, "", fits, policy),
        exact("num_replicas", float(c.num_replicas), "", copies, "facts: retrieval_load"),
        exact(
            "num_machines",
            float(c.num_machines),
            "",
            f"{say_shards(n)}, {c.shards_per_machine} to a server, x "
            f"{show_count(c.num_replicas)} copies on {lookup.server.name}",
            "arithmetic",
        ),
        within(
            "queries_per_s_per_shard",
            c.queries_per_s,
            "/s",
            2.0,
            f"{reads}; the slower of {lookup.server.cores / c.shards_per_machine:.3g} cores and "
            f"{1 / c.shards_per_machine:.2g} of a server's memory bandwidth",
            "Williams et al. 2009 (roofline); facts: core_scan_bytes_per_s",
        ),
        within(
            "shard_search_s",
            c.shard_s,
            "s",
            1.6,
            f"{reads}, beside {show_seconds(facts.value('shard_fixed_s'))} fixed",
            "Jegou et al. 2011; Malkov and Yashunin 2018; facts",
        ),
        exact(
            "lost_shard_recall",
            lost,
            "fraction",
            f"1 / {show_count(n)}: documents are spread by hash",
            "arithmetic",
        ),
    ]


def time_numbers(question: Question, facts: Facts) -> list[Quantity]:
    """Where a question's time goes."""
    look = question.lookup
    found = [
        *_search_numbers(look, facts),
        within(
            "retrieval_p99_s",
            question.retrieval_p99_s,
            "s",
            1.55,
            f"embed {show_seconds(question.embed_s)} + lists "
            f"{show_seconds(look.chosen.coarse_s)} + fan-out "
            f"{show_seconds(look.fan_out_p99_s)} + merge {show_seconds(look.merge_s)}",
            TAIL,
        ),
        within(
            "expected_coverage",
            question.coverage,
            "fraction",
            1.0 if question.coverage > 0.999 else 1.05,
            f"a shard answers within {show_seconds(question.shard_timeout_s)} and one of its "
            f"{show_count(look.chosen.num_replicas)} replicas is up",
            "lognormal shard times; facts: serving_node_availability",
        ),
    ]
    return [_at_most_one(q) if q.unit == "fraction" else q for q in found] + _whole(question)


def _search_numbers(look: LookUp, facts: Facts) -> list[Quantity]:
    """The search of the index: its lists, its shards and their merge."""
    n = look.chosen.num_shards
    shard, sigma = show_seconds(look.chosen.shard_s), facts.value("shard_time_log_sigma")
    sent = show_seconds(look.messages_s)
    return [
        within(
            "coarse_search_s",
            look.chosen.coarse_s,
            "s",
            1.5,
            "a search of the graph over the centroids for the lists to probe; none without lists",
            "Malkov and Yashunin 2018; facts: memory_miss_s",
        ),
        within(
            "fan_out_s",
            look.fan_out_s,
            "s",
            1.5,
            f"messages to {say_shards(n)} {sent} + median of the slowest of {show_count(n)} "
            f"(each {shard}, lognormal, sigma {sigma:g})",
            TAIL,
        ),
        within(
            "fan_out_p99_s",
            look.fan_out_p99_s,
            "s",
            1.55,
            f"messages {sent} + the quantile 0.99^(1/{show_count(n)}) of one shard "
            f"({shard}, sigma {sigma:g}); hedged {show_seconds(look.hedged_p99_s)}",
            TAIL,
        ),
        within(
            "merge_s",
            look.merge_s,
            "s",
            2.0,
            f"a heap of {show_count(n)} lists, the first {look.k} drawn",
            "Knuth, TAOCP 3, section 5.4.1; facts: merge_compare_s",
        ),
    ]


def _at_most_one(q: Quantity) -> Quantity:
    return Quantity(
        name=q.name,
        value=q.value,
        unit=q.unit,
        low=q.low,
        high=min(1.0, q.high),
        because=q.because,
        source=q.source,
    )


def _whole(question: Question) -> list[Quantity]:
    steps = f" x {question.steps:g} steps" if question.steps > 1 else ""
    answer = f" + answer {show_seconds(question.answer_s)}" if question.answering else ""
    medians = f"retrieval {show_seconds(question.retrieval_p50_s)}{answer}{steps}"
    tails = f"{medians}, and the tail of fan-out and queue"
    return [
        within("query_p50_s", question.p50_s, "s", 1.5, medians, "sum of the stages"),
        within("query_p99_s", question.p99_s, "s", 1.55, tails, TAIL),
    ]


def embed_numbers(
    question: Question, workload: Workload, machine: Machine, facts: Facts
) -> list[Quantity]:
    """Embedding one query, and the whole corpus; nothing without an encoder."""
    embedder = question.embedder
    if embedder is None:
        return []
    whole = embed_corpus(workload, embedder, machine, facts)
    share = facts.value("encoder_utilisation")
    because = (
        f"{show_count(whole.passages)} passages x {whole.tokens:.3g} tokens = "
        f"{show(whole.flops, 'FLOP')} on {whole.machines} x {machine.units} accelerators of "
        f"{machine.name} at {share:.0%} of peak"
    )
    source = "Kaplan et al. 2020 (2 FLOP a parameter and token); facts: encoder_utilisation"
    return [
        within(
            "embed_query_s",
            question.embed_s,
            "s",
            2.0,
            f"one pass of {show_count(embedder.parameters)} parameters over 32 tokens, bound by "
            f"memory, and {show_seconds(facts.value('decode_step_fixed_s'))} fixed",
            source,
        ),
        within("embed_corpus_s", whole.seconds, "s", 1.7, because, source),
        within("embed_corpus_days", whole.seconds / 86400.0, "days", 1.7, because, source),
    ]


def answer_numbers(answering: Answering) -> list[Quantity]:
    """The answering model as a stage of a question."""
    r, s = answering.replica, answering.served
    return [
        exact(
            "kv_bytes_per_token",
            s.kv_bytes_per_token,
            "B",
            s.kv_because,
            "Pope et al. 2022; Ainslie et al. 2023",
        ),
        exact(
            "kv_bytes_per_request",
            r.kv_bytes_per_request,
            "B",
            f"{show(s.kv_bytes_per_token, 'B')} a token x prompt and answer",
            "arithmetic",
        ),
        exact(
            "tensor_parallel",
            float(r.tensor),
            "",
            f"{show(s.weight_bytes, 'B')} of weights over {r.accelerators} accelerators, "
            f"{r.tensor} of them one tensor group",
            "the fewest accelerators whose first token is in time",
        ),
        exact(
            "answer_replicas",
            float(answering.num_replicas),
            "",
            f"{show_count(answering.calls_per_s)} calls/s over {r.requests_per_s:.3g}/s a replica, "
            f"load {answering.load:.0%}",
            "facts: answer_load",
        ),
        within(
            "answer_s",
            r.request_s,
            "s",
            1.5,
            f"prefill {show_seconds(r.prefill_s)} + {r.output_tokens:g} tokens at "
            f"{show_seconds(r.step_s)}, {show_seconds(answering.token_s)} with others' prefills",
            "roofline: Williams et al. 2009; Pope et al. 2022",
        ),
    ]
