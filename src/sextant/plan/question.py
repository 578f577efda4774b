"""One question on its way: embed, look up, answer; and the corpus embedded beforehand."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sextant.errors import InfeasibleError
from sextant.facts import Facts, Machine
from sextant.laws import availability, gather, serving
from sextant.plan.answering import Answering, answer_with
from sextant.plan.demand import TOKENS_PER_QUERY
from sextant.plan.lookup import LookUp, find_lookup
from sextant.plan.served import Served, find_model
from sextant.units import show, show_count
from sextant.workload import Workload

LONGEST_PASSAGE = 512.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """Everything that a question passes through; `steps` times for an agent."""

    lookup: LookUp
    embedder: Served | None
    embed_s: float
    answering: Answering | None
    steps: float
    deadline_s: float | None
    shard_timeout_s: float
    coverage: float

    @property
    def retrieval_p50_s(self) -> float:
        """One look-up with its embedding."""
        return self.embed_s + self.lookup.p50_s

    @property
    def retrieval_p99_s(self) -> float:
        """One look-up with its embedding, to the slowest shard."""
        return self.embed_s + self.lookup.p99_s

    @property
    def answer_s(self) -> float:
        """One call of the answering model, first to last token; 0 without one."""
        return self.answering.replica.request_s if self.answering else 0.0

    @property
    def p50_s(self) -> float:
        """The whole question."""
        wait = self.answering.wait_s if self.answering else 0.0
        return self.steps * (self.retrieval_p50_s + wait + self.answer_s)

    @property
    def p99_s(self) -> float:
        """Medians add over steps, and their tails as the root of their number."""
        wait = self.answering.wait_p99_s - self.answering.wait_s if self.answering else 0.0
        tail = self.retrieval_p99_s - self.retrieval_p50_s + max(0.0, wait)
        return self.p50_s + math.sqrt(max(1.0, self.steps)) * tail


def find_question(workload: Workload, machine: Machine, facts: Facts) -> Question | None:
    """The path of a question through the index; None without `[index]` or beside `[tables]`.

    The deadline is for the start of the answer: the last look-up at its p99 and the first token
    must both be within it.

    Raises:
        InfeasibleError: a deadline too short, a model that fits nothing, a fleet too small.
    """
    if workload.index is None or not workload.num_vectors:
        return None
    lookup = find_lookup(workload, machine, facts)
    embedder = find_model(workload, ("encoder",))
    embed_s = _embed_s(embedder, machine, facts)
    asked = workload.serving
    steps = max(1.0, asked.steps) if asked else 1.0
    retrieval = embed_s + lookup.p99_s
    if asked is not None and retrieval > asked.deadline:
        raise InfeasibleError(
            f"the deadline of {show(asked.deadline, 's')} is shorter than one retrieval, "
            f"{show(retrieval, 's')} at p99",
            where="serving.deadline",
            hint="allow more time, a smaller embedder, or a lower index.recall",
        )
    answering = None
    if asked is not None and workload.tables is None:
        answerer = find_model(workload, ("decoder",))
        if answerer is not None:
            spent = (steps - 1.0) * (embed_s + lookup.p50_s) + retrieval
            answering = answer_with(answerer, workload, machine, facts, spent)
    _check_servers(workload, lookup)
    timeout = max(facts.value("retrieval_target_s"), lookup.fan_out_p99_s)
    if asked is not None:
        timeout = min(timeout, asked.deadline - embed_s - lookup.merge_s)
    return Question(
        lookup=lookup,
        embedder=embedder,
        embed_s=embed_s,
        answering=answering,
        steps=steps,
        deadline_s=asked.deadline if asked else None,
        shard_timeout_s=timeout,
        coverage=_coverage(lookup, timeout, facts),
    )


def _embed_s(embedder: Served | None, machine: Machine, facts: Facts) -> float:
    if embedder is None:
        return 0.0
    flops = serving.forward_flops(
        embedder.active_parameters,
        TOKENS_PER_QUERY,
        embedder.layers,
        embedder.hidden,
        TOKENS_PER_QUERY,
    )
    peak = machine.flops_per_s(embedder.precision) * facts.value("encoder_utilisation")
    reads = machine.unit_bandwidth_bytes_per_s * facts.value("decode_bandwidth_fraction")
    one = serving.roofline_s(flops, embedder.weight_bytes, peak, reads)
    return one + facts.value("decode_step_fixed_s")


def _coverage(lookup: LookUp, timeout_s: float, facts: Facts) -> float:
    up = availability.any_of(facts.value("serving_node_availability"), lookup.chosen.num_replicas)
    sigma = facts.value("shard_time_log_sigma")
    allowed = timeout_s - lookup.messages_s
    return gather.on_time_fraction(lookup.chosen.shard_s, sigma, allowed, up)


def _check_servers(workload: Workload, lookup: LookUp) -> None:
    """Where the fleet's own machines hold the shards, there must be enough of them."""
    count, needed = workload.fleet.count, lookup.chosen.num_machines
    own = lookup.server.name == workload.fleet.machine
    own = own or workload.fleet.machine in lookup.server.aliases
    if count is not None and own and needed > count:
        raise InfeasibleError(
            f"the index needs {show_count(needed)} machines of {lookup.server.name} "
            f"({show(lookup.chosen.index_bytes, 'B')} in {lookup.chosen.num_replicas} copies), "
            f"and the fleet has {count}",
            where="fleet.count",
            hint="a larger fleet, or a lower index.recall for a more compressed form",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusEmbedding:
    """Embedding the whole corpus once."""

    passages: float
    tokens: float
    flops: float
    machines: int
    seconds: float


def embed_corpus(
    workload: Workload, embedder: Served, machine: Machine, facts: Facts
) -> CorpusEmbedding:
    """Time to embed every passage on the fleet's accelerators (one machine if none is stated)."""
    tokens = LONGEST_PASSAGE / 2.0
    if workload.corpus is not None:
        tokens = workload.corpus.bytes_per_record / facts.value("text_bytes_per_token")
    tokens = min(max(1.0, tokens), LONGEST_PASSAGE)
    flops = workload.num_vectors * serving.forward_flops(
        embedder.active_parameters, tokens, embedder.layers, embedder.hidden, tokens
    )
    machines = workload.fleet.count or 1
    rate = machine.flops_per_s(embedder.precision) * facts.value("encoder_utilisation")
    return CorpusEmbedding(
        passages=workload.num_vectors,
        tokens=tokens,
        flops=flops,
        machines=machines,
        seconds=flops / (rate * machine.units * machines),
    )
