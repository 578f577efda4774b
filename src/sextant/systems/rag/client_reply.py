"""What the client hands back: a reply with its passages, and the events of a streamed one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sextant.errors import EngineError


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A stretch of a document: `text` is its characters [start, end)."""

    doc: str
    title: str
    start: int
    end: int
    text: str
    score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Absent:
    """A shard that did not answer, and why."""

    shard: str
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What a question brought back.

    Attributes:
        answer: None where nothing relevant was found, or none was asked for.
        note: what to know of the answer, if anything.
        citations: what the answer rests on.
        hits: the passages, best first.
        coverage: the share of the documents that could be searched.
        expected_recall: the share of the best passages that is expected among the hits.
        missing: the shards that did not answer.
        timing: seconds by stage, and `total_s`.
    """

    query: str
    answer: str | None
    note: str
    citations: tuple[Span, ...]
    hits: tuple[Span, ...]
    coverage: float
    expected_recall: float
    missing: tuple[Absent, ...]
    timing: Mapping[str, float]
    deadline_s: float

    @property
    def whole(self) -> bool:
        """Whether every shard answered."""
        return not self.missing


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """A piece of a streamed answer: `hits` and `end` with a reply, `text` with what was added."""

    name: Literal["hits", "text", "end"]
    text: str = ""
    reply: Reply | None = None


def reply_of(data: Mapping[str, Any]) -> Reply:
    """A reply out of JSON; fields that this version does not know are left out.

    Raises:
        EngineError: it is no reply.
    """
    try:
        return Reply(
            query=data["query"],
            answer=data["answer"],
            note=data["note"],
            citations=tuple(_span(one) for one in data["citations"]),
            hits=tuple(_span(one) for one in data["hits"]),
            coverage=data["coverage"],
            expected_recall=data["expected_recall"],
            missing=tuple(Absent(shard=one["shard"], why=one["why"]) for one in data["missing"]),
            timing=data["timing"],
            deadline_s=data["deadline_s"],
        )
    except (KeyError, TypeError) as error:
        raise EngineError(f"the answer is not of `sextant rag serve`: {error}") from error


def _span(data: Mapping[str, Any]) -> Span:
    return Span(**{name: data[name] for name in Span.__slots__})
