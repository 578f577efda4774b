"""What the routes share: the service, the bounds, and one question's way through both."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol

from sextant.errors import InputError, SextantError
from sextant.fleet import Deadline
from sextant.search.local import Gang
from sextant.search.manifest import Manifest
from sextant.systems.rag.embed import Embedder
from sextant.systems.rag.serve import messages
from sextant.systems.rag.serve.crew import Crew, Sofar, follow
from sextant.systems.rag.serve.gate import Gate
from sextant.systems.rag.serve.journal import Journal
from sextant.systems.rag.serve.limits import Limits
from sextant.systems.rag.serve.measures import Measures
from sextant.systems.rag.serve.messages import Ask, Question
from sextant.systems.rag.serve.refusal import Refusal, homeless
from sextant.systems.rag.serve.tokens import Caller
from sextant.systems.rag.service import Result, Watch
from sextant.systems.rag.wanted import Wanted

_SEARCH_HITS, _ASK_HITS = 10, 5


class Answering(Protocol):
    """What the application needs of a service; `Service` and `LiveService` have it."""

    @property
    def manifest(self) -> Manifest:
        """Of the generation that questions are answered from."""
        ...

    @property
    def gang(self) -> Gang:
        """Its shards."""
        ...

    @property
    def embedder(self) -> Embedder:
        """Its model."""
        ...

    @property
    def search(self) -> Callable[..., Result]:
        """See `Service.search`."""
        ...

    @property
    def ask(self) -> Callable[..., Result]:
        """See `Service.ask`."""
        ...


@dataclass(kw_only=True, slots=True)
class Desk:
    """Takes questions in. One a server, used from its event loop.

    Attributes:
        draining: set once the server was told to stop; it is not ready any more.
    """

    service: Answering
    limits: Limits
    measures: Measures
    journal: Journal
    gate: Gate = field(init=False)
    crew: Crew = field(init=False)
    draining: bool = False

    def __post_init__(self) -> None:
        self.gate = Gate(self.limits.at_once, self.limits.waiting)
        self.crew = Crew(self.limits.at_once)
        self.measures.watch("in_flight", "Questions worked on now.", lambda: self.gate.inside)
        self.measures.watch(
            "queued", "Questions that wait for their turn.", lambda: self.gate.waiting
        )

    async def results(self, question: Question, caller: Caller) -> AsyncGenerator[Sofar, None]:
        """A question's result as it grows, the last one final.

        Raises:
            Refusal: it is wrong, or there is no room, no time or no shard for it.
        """
        asks = isinstance(question, Ask)
        text = messages.checked_text(question, self.limits)
        k = messages.checked_k(question, _ASK_HITS if asks else _SEARCH_HITS, self.limits)
        deadline_s = messages.checked_deadline_s(question, self.limits)
        how = _how(question, k, caller)
        deadline = Deadline.after(deadline_s)

        def work(watch: Watch, left_s: float) -> Result:
            if asks:
                return self.service.ask(text, k=k, deadline_s=left_s, watch=watch, **how)
            return self.service.search(text, k=k, deadline_s=left_s, **how)

        ended = False
        try:
            async with aclosing(follow(self.gate, self.crew, work, deadline)) as sofars:
                async for sofar in sofars:
                    _check_answered(sofar.result)
                    if sofar.final:
                        ended = True
                        self._count(text, sofar)
                    yield sofar
        except SextantError as error:
            ended = True
            raise Refusal.of(error) from None
        except Refusal:
            ended = True
            raise
        finally:
            if not ended:
                self.measures.abandoned()

    def _count(self, text: str, sofar: Sofar) -> None:
        result = sofar.result
        self.measures.result(result, sofar.queue_s)
        self.journal.question(
            text,
            chars=len(text),
            answered=result.answer is not None,
            hits=len(result.hits),
            coverage=result.coverage,
            queue_s=round(sofar.queue_s, 6),
            total_s=round(result.timing.get("total_s", 0.0), 6),
        )


def told(sofar: Sofar, deadline_s: float) -> dict[str, Any]:
    """A result as JSON, with the wait for its turn among the stages."""
    value = sofar.result.as_json()
    timing = {"queue_s": sofar.queue_s, **value["timing"]}
    timing["total_s"] += sofar.queue_s
    missing = [{**one, "why": homeless(one["why"])} for one in value["missing"]]
    return {**value, "missing": missing, "timing": timing, "deadline_s": deadline_s}


def _how(question: Question, k: int, caller: Caller) -> dict[str, Any]:
    """The options of a question that the service is told, right before it waits for its turn.

    Raises:
        Refusal: 403, the body names groups, which are the token's to say; 422, one is wrong.
    """
    groups = caller.groups
    if question.groups is not None:
        if caller.by_token:
            what = "groups come from the token"
            raise Refusal(403, what, where="groups", hint="leave them out", why="groups")
        groups = tuple(question.groups)
    try:
        wanted = Wanted.of(k, question.mode, question.filter, groups, has_text=True)
    except InputError as error:
        raise Refusal.of(error) from None
    return {"mode": wanted.mode, "filter": wanted.filter, "groups": wanted.groups}


def _check_answered(result: Result) -> None:
    """An answer from no shard at all is none.

    Raises:
        Refusal: 504, all were too late; 503, they cannot serve.
    """
    if result.shards or not result.missing:
        return
    late = all(missing.why == "deadline" for missing in result.missing)
    names = homeless(", ".join(str(missing) for missing in result.missing[:4]))
    raise Refusal(
        504 if late else 503,
        f"no shard answered in time: {names}" if late else f"no shard serves: {names}",
        hint="a longer deadline" if late else "ask again shortly",
        retry_after_s=None if late else 1.0,
        why="late" if late else "shards",
    )
