"""What a request may say, and what an answer holds: the door of the HTTP interface.

Unknown fields are refused; numbers must be finite. The answers' models are for the interface's
description: they name what `sextant rag search|ask --json` prints.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sextant.systems.rag.serve.limits import Limits
from sextant.systems.rag.serve.refusal import Refusal
from sextant.units import SECONDS, parse

_MOST_GROUPS = 64

Mode = Literal["dense", "lexical", "hybrid"]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class Question(BaseModel):
    """A question to the index."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"question": "What does a drill record?", "k": 5}]},
    )

    question: str = Field(description="In the words of the person who asks.", min_length=1)
    k: int | None = Field(None, ge=1, strict=True, description="How many passages.")
    deadline: Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)] | str | None = Field(
        None,
        description="When the answer must be there: seconds, or a text such as `200ms`. "
        "Shards that are later are left out, and the answer says so.",
    )
    mode: Mode | None = Field(
        None, description="Find by meaning, by words, or (where none is given) by both."
    )
    filter: dict[str, Any] | None = Field(
        None,
        description='Only documents whose fields meet this, such as `{"year": {"gte": 2020}}`.',
    )
    groups: list[Name] | None = Field(
        None,
        max_length=_MOST_GROUPS,
        description="The asker's groups, where the server has no tokens. With tokens they come "
        "from the token alone, and a request that names some is refused.",
    )


class Ask(Question):
    """A question that wants an answer."""

    stream: bool = Field(
        False, strict=True, description="Events as they come: `hits`, `text`..., `end`."
    )


class Span(BaseModel):
    """A stretch of a document: `text` is its characters [start, end)."""

    doc: str
    title: str
    start: int
    end: int
    text: str
    score: float


class Absent(BaseModel):
    """A shard that did not answer, and why."""

    shard: str
    why: str


class Found(BaseModel):
    """What a question brought back."""

    query: str
    answer: str | None = Field(description="None where nothing relevant was found, or not asked.")
    note: str = Field(description="What to know of the answer, if anything.")
    citations: list[Span] = Field(description="What the answer rests on, word for word.")
    hits: list[Span] = Field(description="The passages, best first.")
    coverage: float = Field(description="The share of the documents that could be searched.")
    expected_recall: float = Field(description="The share of the best passages expected here.")
    missing: list[Absent]
    timing: dict[str, float] = Field(description="Seconds by stage; they sum to `total_s`.")
    deadline_s: float


class Problem(BaseModel):
    """Why a request was not answered."""

    error: str = Field(description="What is wrong.")
    where: str | None = Field(description="In which part of the request.")
    hint: str | None = Field(description="What to do about it.")
    retry_after_s: float | None = Field(None, description="When to ask again.")


def checked_deadline_s(question: Question, limits: Limits) -> float:
    """The seconds that a question has.

    Raises:
        Refusal: 422; it is no time, or a longer one than the server allows.
    """
    given = question.deadline
    if given is None:
        return limits.deadline_s
    try:
        seconds = parse(given, SECONDS) if isinstance(given, str) else float(given)
    except ValueError as error:
        raise Refusal(422, str(error), where="deadline", hint="such as 0.2 or 200ms") from error
    if not 0 < seconds <= limits.longest_deadline_s:
        what = f"must be above 0 and at most {limits.longest_deadline_s:g} s"
        raise Refusal(422, what, where="deadline")
    return seconds


def checked_k(question: Question, default: int, limits: Limits) -> int:
    """How many passages to find.

    Raises:
        Refusal: 422; more than the server allows.
    """
    if question.k is not None and question.k > limits.hits:
        raise Refusal(422, f"must be at most {limits.hits}", where="k")
    return default if question.k is None else question.k


def checked_text(question: Question, limits: Limits) -> str:
    """The question itself.

    Raises:
        Refusal: 422; it is blank or too long.
    """
    if not question.question.strip():
        raise Refusal(422, "the question is empty", where="question")
    if len(question.question) > limits.question_chars:
        what = f"{len(question.question):,} characters; at most {limits.question_chars:,}"
        raise Refusal(422, what, where="question", hint="ask with fewer words")
    return question.question
