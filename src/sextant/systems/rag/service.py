"""A question answered: embed, fan out under the deadline, merge, answer, and say what each took.

Shape suffixes: Q questions, D dimensions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from sextant.axes import Axis
from sextant.errors import InputError
from sextant.fleet import Answer as ShardAnswer
from sextant.fleet import BarrierError, Deadline, Fleet, Ledger, Missing
from sextant.search.local import Gang
from sextant.search.manifest import Manifest
from sextant.search.searcher import Found, Searcher
from sextant.search.service import open_local, shard_specs
from sextant.systems.rag.answer import HURRIED, Answer, AnswerRule, answer
from sextant.systems.rag.embed import Embedder, Floats, open_embedder
from sextant.systems.rag.model import DEFAULT_MODEL
from sextant.systems.rag.passage import Passage

_READY_S = 120.0
# What fan-out leaves of the deadline to merging and to whoever waits for the answer.
_FAN_OUT_SHARE = 0.95
_LEAST_FAN_OUT_SHARE = 0.3
_MOST_QUESTION_CHARS = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One question's passages, and with `ask` its answer.

    `timing` has a stage a key, which sum to `total_s`. `shards` are the answers' own times.
    """

    query: str
    answer: str | None
    note: str
    citations: tuple[Passage, ...]
    hits: tuple[Passage, ...]
    coverage: float
    expected_recall: float
    missing: tuple[Missing, ...]
    timing: dict[str, float]
    deadline_s: float
    shards: tuple[ShardAnswer, ...]

    def as_json(self) -> dict[str, Any]:
        """As `sextant rag search|ask --json` prints it."""
        return {
            "query": self.query,
            "answer": self.answer,
            "note": self.note,
            "citations": [citation.as_json() for citation in self.citations],
            "hits": [hit.as_json() for hit in self.hits],
            "coverage": self.coverage,
            "expected_recall": self.expected_recall,
            "missing": [{"shard": one.member, "why": one.why} for one in self.missing],
            "timing": self.timing,
            "deadline_s": self.deadline_s,
        }


class Service:
    """An open index with its model. Made by `open_service`; a context manager."""

    def __init__(
        self, manifest: Manifest, gang: Gang, embedder: Embedder, rule: AnswerRule | None = None
    ) -> None:
        self.manifest = manifest
        self.embedder = embedder
        self.gang = gang
        # Embedding runs on torch's threads, so count the process's time and not the thread's.
        self.ledger = Ledger(cpu_clock=time.process_time)
        self._searcher = Searcher(manifest, gang, self.ledger)
        self._rule = rule or AnswerRule()
        self._answer_s = 0.0

    def warm(self) -> None:
        """Read the model's weights and time an answer, so that no question pays for it."""
        sentences = ["A sentence of about the usual length, with some twenty words in it."] * 24
        self.embedder.encode(sentences[:1])
        start_s = time.perf_counter()
        self.embedder.encode(sentences)
        self._answer_s = time.perf_counter() - start_s

    def embed(self, questions: Sequence[str]) -> Floats:
        """Unit vectors [Q, D], made as the index's own were."""
        with self.ledger.busy(Axis.INFERENCE):
            return self.embedder.encode(questions)

    def search_vectors(
        self, queries_QD: Floats, *, k: int, deadline: Deadline, with_rows: bool = True
    ) -> Found:
        """Search with vectors that `embed` made; one message a shard for the whole batch."""
        return self._searcher.search(
            queries_QD,
            k=k,
            deadline=deadline,
            space=self.embedder.folder.fingerprint,
            with_rows=with_rows,
        )

    def search(self, question: str | Floats, *, k: int = 10, deadline_s: float = 5.0) -> Result:
        """The K best passages for a question, or for a vector [D] that `embed` made.

        Raises:
            InputError: the question is empty or longer than anyone asks, or the numbers are wrong.
        """
        return self._run(question, k, deadline_s, answering=False)

    def ask(self, question: str, *, k: int = 5, deadline_s: float = 5.0) -> Result:
        """An answer with citations from the K best passages; `answer` is None if nothing is
        relevant.

        Raises:
            InputError: as `search`.
        """
        return self._run(question, k, deadline_s, answering=True)

    def close(self) -> None:
        """End the shards' members; a fleet that was passed in goes on."""
        self.gang.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, question: str | Floats, k: int, deadline_s: float, *, answering: bool) -> Result:
        start_s = time.perf_counter()
        deadline = Deadline.after(deadline_s)
        text = _checked(question, deadline_s)
        question_D = self.embed([text])[0] if isinstance(question, str) else question
        timing = {"embed_s": time.perf_counter() - start_s}
        found = self.search_vectors(
            question_D[None, :], k=k, deadline=self._fan_out_deadline(deadline, answering)
        )
        timing |= {"fan_out_s": found.fan_out_s, "merge_s": found.merge_s}
        hits = tuple(Passage.of(hit) for hit in found.hits[0])
        said = Answer(text=None, note="", citations=())
        if answering:
            answer_start_s = time.perf_counter()
            said = self._answer(text, question_D, hits, deadline)
            timing["answer_s"] = time.perf_counter() - answer_start_s
        total_s = time.perf_counter() - start_s
        timing["other_s"] = total_s - sum(timing.values())
        timing["total_s"] = total_s
        return Result(
            query=text,
            answer=said.text,
            note=said.note,
            citations=said.citations,
            hits=hits,
            coverage=found.coverage,
            expected_recall=found.expected_recall,
            missing=found.missing,
            timing=timing,
            deadline_s=deadline_s,
            shards=found.shards,
        )

    def _fan_out_deadline(self, deadline: Deadline, answering: bool) -> Deadline:
        """The shards' part of what is left: all but a margin, and but what an answer takes."""
        left_s = max(deadline.left_s(), 1e-6)
        kept_s = self._answer_s if answering else 0.0
        share = min(_FAN_OUT_SHARE, (left_s - kept_s) / left_s)
        return deadline.stage(max(_LEAST_FAN_OUT_SHARE, share))

    def _answer(
        self, question: str, question_D: Floats, hits: tuple[Passage, ...], deadline: Deadline
    ) -> Answer:
        start_s = time.perf_counter()
        in_time = deadline.left_s() > 1.2 * self._answer_s
        encode: Callable[[Sequence[str]], Floats] | None = self.embedder.encode if in_time else None
        with self.ledger.busy(Axis.INFERENCE):
            found = answer(question, question_D, hits, encode, self._rule)
        if encode is not None and found.text is not None:
            # The next deadline is split by what answers took of late.
            self._answer_s += 0.3 * (time.perf_counter() - start_s - self._answer_s)
        if found.text is not None and encode is None:
            return replace(found, note=HURRIED)
        return found


def open_service(
    index_dir: Path | str,
    fleet: Fleet | None = None,
    *,
    embedder: Embedder | None = None,
    model: str | None = None,
    ready_s: float = _READY_S,
    progress: Callable[[int, int], None] | None = None,
) -> Service:
    """Open a published index with the model that it was built with.

    With a fleet, each shard is a member process; without one, a thread here, asked in the same
    words. A shard that is torn or corrupt is missing from every answer, with the reason; the others
    serve.

    Args:
        index_dir: what `build_index` made.
        fleet: a started fleet.
        embedder: an embedder that is open already.
        model: the model's folder, where it has moved since.
        ready_s: how long to wait for the members.
        progress: called with how many members serve, and how many there are.

    Raises:
        InputError: there is no index, its model is gone or is another one, or no shard could be
            opened.
        EngineError: an engine failed or is missing.
    """
    index_dir = Path(index_dir)
    manifest = Manifest.read(index_dir)
    embedder = embedder or _embedder_of(manifest, model)
    if embedder.folder.fingerprint != manifest.space:
        raise InputError(
            f"the index was built with another model ({manifest.about.get('model')})",
            where=str(index_dir),
            hint="--model with that model's folder, or build the index again",
        )
    if fleet is None:
        return Service(manifest, open_local(index_dir, manifest), embedder)
    gang = fleet.gang("shard", shard_specs(index_dir, manifest))
    try:
        gang.ready(ready_s, progress)
    except BarrierError as error:
        if len(error.missing) == len(manifest.shards):
            gang.close()
            raise
    return Service(manifest, gang, embedder)


def _embedder_of(manifest: Manifest, model: str | None) -> Embedder:
    name = model or manifest.about.get("model")
    path = None if name == DEFAULT_MODEL else model or manifest.about.get("model_path")
    return open_embedder(path)


def _checked(question: str | Floats, deadline_s: float) -> str:
    if not 0 < deadline_s < float("inf"):
        raise InputError(f"a deadline must be above 0 s, not {deadline_s}", where="--deadline")
    if not isinstance(question, str):
        if not np.isfinite(question).all():
            raise InputError("a query vector must be finite")
        return ""
    if not question.strip():
        raise InputError("the question is empty")
    if len(question) > _MOST_QUESTION_CHARS:
        raise InputError(
            f"a question of {len(question)} characters; at most {_MOST_QUESTION_CHARS}"
        )
    return question.encode("utf-8", errors="replace").decode("utf-8")
