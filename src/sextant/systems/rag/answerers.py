"""Who answers: the documents' own sentences, or a language model that is held to them."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Protocol

from sextant.errors import SextantError
from sextant.fleet import Deadline
from sextant.systems.rag.answer import Answer, answer
from sextant.systems.rag.answer_rule import AnswerRule
from sextant.systems.rag.citing import UNSUPPORTED, shown, verified
from sextant.systems.rag.embed import Floats
from sextant.systems.rag.passage import Passage
from sextant.systems.rag.prompt import NOT_FOUND, Message, written

Told = Callable[[Answer], None]
"""Hears the answer so far, while it grows. Its citations are not checked yet, and it has none."""

UNBORNE = "the documents' own words: what the language model said is not in the sources"
_MOST_NEW_TOKENS = 256
_MOST_CHARS = 8_000
# Of what is left, a model may take all but this, so that its answer can still be checked and sent.
_WRITING_SHARE = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class Inquiry:
    """A question with what was found for it.

    Attributes:
        question: as the user wrote it.
        question_D: its unit vector.
        hits: passages, best first: as many as the answerer reads, or k if that is more.
        k: how many of them are to be shown, the cited ones among them.
        encode: texts to unit vectors.
        deadline: when the answer must be there.
    """

    question: str
    question_D: Floats
    hits: Sequence[Passage]
    k: int
    encode: Callable[[Sequence[str]], Floats]
    deadline: Deadline


class Answerer(Protocol):
    """Turns passages into an answer, from any number of threads. Whoever opened one closes it."""

    @property
    def name(self) -> str:
        """Who it is, for people."""
        ...

    @property
    def passages(self) -> int:
        """How many passages it reads, if it is given so many."""
        ...

    @property
    def usual_s(self) -> float:
        """What an answer took of late: the part of a deadline that is to be left to it."""
        ...

    def warm(self, encode: Callable[[Sequence[str]], Floats]) -> None:
        """Do beforehand what the first question should not pay for."""
        ...

    def answer(self, inquiry: Inquiry, told: Told | None = None) -> Answer:
        """The answer, by the deadline; `told` hears it grow, where it grows."""
        ...

    def close(self) -> None:
        """End what it started."""
        ...


class Writer(Protocol):
    """A language model that continues a conversation, from any number of threads."""

    @property
    def name(self) -> str:
        """Which model, for people."""
        ...

    def fits(self, messages: list[Message], new_tokens: int) -> bool:
        """Whether the model has room for the messages and so many tokens after them."""
        ...

    def write(
        self, messages: list[Message], *, new_tokens: int, deadline: Deadline
    ) -> Generator[str, None, None]:
        """Pieces of what it says next, as they come; `Cut` ends them early. Closing ends the work.

        Raises:
            EngineError: the model failed.
            InputError: the model refuses these messages.
        """
        ...

    def close(self) -> None:
        """End what it started."""
        ...


class Cut(Exception):  # noqa: N818
    """The text ended before the model did; the message says why."""


class ExtractiveAnswerer:
    """The documents' own sentences; abstains where none speaks of the question."""

    name = "extractive"

    def __init__(
        self, rule: AnswerRule | None = None, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.rule = rule or AnswerRule()
        self.passages = self.rule.passages
        self.usual_s = 0.0
        self._clock = clock

    def warm(self, encode: Callable[[Sequence[str]], Floats]) -> None:
        """Read the model's weights and time what an answer embeds."""
        sentences = ["A sentence of about the usual length, with some twenty words in it."]
        encode(sentences)
        start_s = self._clock()
        encode(sentences * self.rule.candidates)
        self.usual_s = self._clock() - start_s

    def answer(self, inquiry: Inquiry, told: Told | None = None) -> Answer:  # noqa: ARG002
        """See `Answerer`; it does not grow. In a hurry it weighs words alone, and says so."""
        start_s = self._clock()
        in_time = inquiry.deadline.left_s() > 1.2 * self.usual_s
        said = answer(
            inquiry.question,
            inquiry.question_D,
            inquiry.hits,
            inquiry.encode if in_time else None,
            replace(self.rule, sentences=min(self.rule.sentences, inquiry.k)),
        )
        if in_time:
            self.usual_s += 0.3 * (self._clock() - start_s - self.usual_s)
        return said

    def close(self) -> None:
        """Nothing to end."""


class GeneratedAnswerer:
    """A language model's words, each sentence checked against the source that it names.

    The extractive answer is made first: it costs milliseconds, decides whether the sources speak of
    the question at all, and is there if the model fails, is late, or says what they do not.
    """

    def __init__(
        self,
        writer: Writer,
        extractive: ExtractiveAnswerer | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._writer = writer
        self._extractive = extractive or ExtractiveAnswerer()
        self._clock = clock
        self.passages = self._extractive.passages
        self._writing_s = 0.0

    @property
    def name(self) -> str:
        """See `Answerer`."""
        return self._writer.name

    @property
    def usual_s(self) -> float:
        """See `Answerer`."""
        return self._extractive.usual_s + self._writing_s

    def warm(self, encode: Callable[[Sequence[str]], Floats]) -> None:
        """As the extractive answerer; a model is warm once it is open."""
        self._extractive.warm(encode)

    def answer(self, inquiry: Inquiry, told: Told | None = None) -> Answer:
        """See `Answerer`."""
        own = self._extractive.answer(inquiry)
        if own.text is None:
            return own
        prompt = written(
            inquiry.question,
            shown(inquiry.hits, inquiry.k, own.citations),
            lambda messages: self._writer.fits(messages, _MOST_NEW_TOKENS),
        )
        if not prompt.sources:
            return _own(own, f"{self.name} has no room for a source")
        start_s = self._clock()
        try:
            text, cut = self._write(prompt.messages, inquiry.deadline, told)
        except SextantError as error:
            return _own(own, f"{self.name}: {error.what}")
        finally:
            self._writing_s += 0.3 * (self._clock() - start_s - self._writing_s)
        return _held_to_sources(text, cut, prompt.sources, own)

    def close(self) -> None:
        """Close the model."""
        self._writer.close()

    def _write(
        self, messages: list[Message], deadline: Deadline, told: Told | None
    ) -> tuple[str, str]:
        """What the model wrote, and why that is not all, if it is not."""
        text = ""
        pieces = self._writer.write(
            messages, new_tokens=_MOST_NEW_TOKENS, deadline=deadline.stage(_WRITING_SHARE)
        )
        with closing(pieces):
            try:
                for piece in pieces:
                    text += piece
                    if len(text) > _MOST_CHARS:
                        return text[:_MOST_CHARS], f"cut at {_MOST_CHARS} characters"
                    if told is not None and not _may_be_not_found(text):
                        told(Answer(text=text, note="", citations=()))
            except Cut as why:
                return text, str(why)
        return text, ""


def _may_be_not_found(text: str) -> bool:
    """Whether a text says, or may yet come to say, that the sources do not hold the answer."""
    begun = text.strip().lstrip("\"'").upper()
    return begun.startswith(NOT_FOUND) or NOT_FOUND.startswith(begun)


def _held_to_sources(text: str, cut: str, sources: Sequence[Passage], own: Answer) -> Answer:
    """The model's answer as far as the sources bear it out; else the documents' own."""
    if text.strip() and _may_be_not_found(text):
        return Answer(text=None, note="the sources do not hold the answer", citations=())
    if cut:
        text = _whole_sentences(text)
    found = verified(text, sources)
    if not found.citations:
        return _own(own, cut) if cut else replace(own, note=UNBORNE)
    notes = [cut] if cut else []
    if found.unsupported:
        notes.append(f"{UNSUPPORTED} stands where no source was found to say so")
    return Answer(text=found.text, note="; ".join(notes), citations=found.citations)


def _whole_sentences(text: str) -> str:
    """The text up to where its last whole sentence, with its marks, ends."""
    end = max((text.rfind(mark) + 1 for mark in (". ", ".\n", "? ", "! ", "]")), default=0)
    return text if text.rstrip()[-1:] in ".!?]" else text[:end]


def _own(own: Answer, why: str) -> Answer:
    return replace(own, note=f"the documents' own words, since {why}")
