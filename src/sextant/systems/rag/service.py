"""A question answered: embed, fan out under the deadline, merge, answer, and say what each took.

Shape suffixes: Q questions, D dimensions.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from sextant.axes import Axis
from sextant.errors import InputError
from sextant.fleet import Answer as ShardAnswer
from sextant.fleet import Deadline, Fleet, Ledger, Missing
from sextant.search.generations import Lease, lease
from sextant.search.local import Gang
from sextant.search.searcher import Found, Searcher
from sextant.search.service import open_local, open_on_fleet
from sextant.search.statistics import Statistics
from sextant.search.wire import Mode
from sextant.systems.rag.answer import Answer
from sextant.systems.rag.answerers import Answerer, ExtractiveAnswerer, Inquiry
from sextant.systems.rag.citing import checked, shown
from sextant.systems.rag.embed import Embedder, Floats
from sextant.systems.rag.fusion import z_scores
from sextant.systems.rag.passage import Passage
from sextant.systems.rag.remembered import embedder_of, require_model
from sextant.systems.rag.wanted import FilterLike, Wanted

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


Watch = Callable[[Result], None]
"""Hears the result so far: once the hits are there, and each time the answer has grown. What it
raises ends the question."""


class Service:
    """An open index with its model. Made by `open_service`; a context manager."""

    def __init__(
        self,
        leased: Lease,
        gang: Gang,
        embedder: Embedder,
        answerer: Answerer | None = None,
    ) -> None:
        self._lease = leased
        self.manifest = manifest = leased.manifest
        self.embedder = embedder
        self.gang = gang
        # Embedding runs on torch's threads, so count the process's time and not the thread's.
        self.ledger = Ledger(cpu_clock=time.process_time)
        statistics = Statistics(leased.index_dir, manifest)
        self._searcher = Searcher(manifest, gang, self.ledger, statistics)
        self.answerer = answerer or ExtractiveAnswerer()

    def warm(self) -> None:
        """Read the model's weights and time an answer, so that no question pays for it."""
        self.answerer.warm(self.embedder.encode)
        settle_heap()

    def embed(self, questions: Sequence[str]) -> Floats:
        """Unit vectors [Q, D], made as the index's own were."""
        with self.ledger.busy(Axis.INFERENCE):
            prompt = self.embedder.folder.query_prompt
            return self.embedder.encode([f"{prompt}{question}" for question in questions])

    def search_vectors(
        self,
        queries_QD: Floats,
        *,
        k: int,
        deadline: Deadline,
        with_rows: bool = True,
        texts: Sequence[str] = (),
        wanted: Wanted | None = None,
    ) -> Found:
        """Search with vectors that `embed` made; one message a shard for the whole batch.

        Without `wanted` by vectors alone, as a caller who may see all.
        """
        wanted = wanted or Wanted(k=k)
        return self._searcher.search(
            queries_QD,
            k=k,
            deadline=deadline,
            space=self.embedder.folder.fingerprint,
            with_rows=with_rows,
            texts=texts,
            mode=wanted.mode,
            fuse=z_scores,
            filter=wanted.filter,
            groups=wanted.groups,
        )

    def search(
        self,
        question: str | Floats,
        *,
        k: int = 10,
        deadline_s: float = 5.0,
        mode: str | None = None,
        filter: FilterLike | None = None,  # noqa: A002
        groups: Sequence[str] | None = None,
    ) -> Result:
        """The K best passages for a question, or for a vector [D] that `embed` made.

        Args:
            question: a text or a vector.
            k: passages.
            deadline_s: when they are due; shards that are later are left out.
            mode: dense, lexical or hybrid; by default hybrid for a text.
            filter: conditions on the fields of documents (`search/filters.py`).
            groups: the caller's: documents for others are not there. None sees all of them.

        Raises:
            InputError: the question is empty or longer than anyone asks, or the numbers, the mode,
                the filter or the groups are wrong.
        """
        has_text = isinstance(question, str)
        wanted = Wanted.of(k, mode, filter, groups, has_text=has_text)
        return self._run(question, wanted, deadline_s, answering=False)

    def ask(
        self,
        question: str,
        *,
        k: int = 5,
        deadline_s: float = 5.0,
        mode: str | None = None,
        filter: FilterLike | None = None,  # noqa: A002
        groups: Sequence[str] | None = None,
        watch: Watch | None = None,
    ) -> Result:
        """An answer with citations from the K best passages; `answer` is None if nothing is
        relevant.

        Raises:
            InputError: as `search`.
        """
        wanted = Wanted.of(k, mode, filter, groups, has_text=True)
        return self._run(question, wanted, deadline_s, answering=True, watch=watch)

    def renewed(self, leased: Lease, gang: Gang, embedder: Embedder) -> Service:
        """The same service over another generation; this one goes on beside it."""
        other = copy(self)
        other._lease, other.manifest, other.gang = leased, leased.manifest, gang
        other.embedder = embedder
        beside = self._searcher.statistics
        statistics = Statistics(leased.index_dir, leased.manifest, beside)
        other._searcher = Searcher(leased.manifest, gang, self.ledger, statistics)
        return other

    def close(self, *, keep_gang: bool = False) -> None:
        """End the shards' members, and let go of the index; a fleet that was passed in goes on."""
        if not keep_gang:
            self.gang.close()
        self._lease.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(
        self,
        question: str | Floats,
        wanted: Wanted,
        deadline_s: float,
        *,
        answering: bool,
        watch: Watch | None = None,
    ) -> Result:
        start_s = time.perf_counter()
        deadline = Deadline.after(deadline_s)
        text = _checked(question, deadline_s)
        asked = text if isinstance(question, str) else question
        question_D = self._vector_of(asked, wanted, answering)
        timing = {"embed_s": time.perf_counter() - start_s}
        found = self.search_vectors(
            question_D[None, :],
            k=max(wanted.k, self.answerer.passages) if answering else wanted.k,
            deadline=self._fan_out_deadline(deadline, answering),
            texts=[text],
            wanted=wanted,
        )
        timing |= {"fan_out_s": found.fan_out_s, "merge_s": found.merge_s}
        hits = tuple(Passage.of(hit) for hit in found.hits[0])

        def so_far(said: Answer) -> Result:
            total_s = time.perf_counter() - start_s
            return Result(
                query=text,
                answer=said.text,
                note=said.note,
                citations=said.citations,
                hits=shown(hits, wanted.k, said.citations),
                coverage=found.coverage,
                expected_recall=found.expected_recall,
                missing=found.missing,
                timing={**timing, "other_s": total_s - sum(timing.values()), "total_s": total_s},
                deadline_s=deadline_s,
                shards=found.shards,
            )

        said = Answer(text=None, note="", citations=())
        if watch is not None:
            watch(so_far(said))
        if answering:
            answer_start_s = time.perf_counter()
            inquiry = Inquiry(
                question=text,
                question_D=question_D,
                hits=hits,
                k=wanted.k,
                encode=self.embedder.encode,
                deadline=deadline,
            )
            with self.ledger.busy(Axis.INFERENCE):
                told = None if watch is None else lambda growing: watch(so_far(growing))
                # The check has the last word on every answer, whoever gave it.
                said = checked(self.answerer.answer(inquiry, told), hits)
            timing["answer_s"] = time.perf_counter() - answer_start_s
        return so_far(said)

    def _vector_of(self, question: str | Floats, wanted: Wanted, answering: bool) -> Floats:
        if not isinstance(question, str):
            return question
        if wanted.mode == Mode.LEXICAL and not answering:
            # Nobody compares meanings, so the model need not run.
            return np.empty(0, np.float32)
        vector_D: Floats = self.embed([question])[0]
        return vector_D

    def _fan_out_deadline(self, deadline: Deadline, answering: bool) -> Deadline:
        """The shards' part of what is left: all but a margin, and but what an answer takes."""
        left_s = max(deadline.left_s(), 1e-6)
        kept_s = self.answerer.usual_s if answering else 0.0
        share = min(_FAN_OUT_SHARE, (left_s - kept_s) / left_s)
        return deadline.stage(max(_LEAST_FAN_OUT_SHARE, share))


def open_service(
    index_dir: Path | str,
    fleet: Fleet | None = None,
    *,
    embedder: Embedder | None = None,
    model: str | None = None,
    answerer: Answerer | None = None,
    replicas: int = 1,
    ready_s: float = _READY_S,
    progress: Callable[[int, int], None] | None = None,
) -> Service:
    """Open a published index with the model that it was built with.

    With a fleet, each shard is a member process; without one, a thread here, asked in the same
    words. A shard that is torn or corrupt is missing from every answer, with the reason; the others
    serve.

    Args:
        index_dir: what `build_index` made.
        fleet: a started fleet, or one that was attached to, whose shards are asked then.
        embedder: an embedder that is open already.
        model: the model's folder, where it has moved since.
        answerer: who answers, closed by whoever opened it; the documents' own words by default.
        replicas: processes a shard, of a started fleet.
        ready_s: how long to wait for the members.
        progress: called with how many members serve, and how many there are.

    Raises:
        InputError: there is no index, its model is gone or is another one, or no shard could be
            opened.
        EngineError: an engine failed or is missing.
    """
    leased = lease(Path(index_dir))
    try:
        embedder = embedder or embedder_of(leased.manifest, model)
        require_model(leased.manifest, embedder)
        if fleet is None:
            gang: Gang = open_local(Path(index_dir), leased.manifest)
        else:
            gang = open_on_fleet(
                Path(index_dir),
                leased.manifest,
                fleet,
                replicas=replicas,
                ready_s=ready_s,
                progress=progress,
            )
    except BaseException:
        leased.close()
        raise
    return Service(leased, gang, embedder, answerer)


def settle_heap() -> None:
    """Has the garbage collector look no more at what is there already, and stays.

    With torch, Faiss and Arrow loaded, a look at everything was seen to stop all threads for 57 to
    98 ms: longer than a deadline may be overrun. Afterwards it sees only what questions leave.
    """
    gc.collect()
    gc.freeze()


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
