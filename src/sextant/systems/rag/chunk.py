"""Cutting a document into chunks that fit the model's window, with exact offsets into the
document.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sextant.search.rows import Scalar
from sextant.systems.rag.document import Document
from sextant.systems.rag.sentences import paragraph_starts, sentence_starts, strip_span

# A chunk never holds more characters than this a token, however sparse its tokens are (a word of a
# megabyte is one token to some tokenizers).
_MAX_CHARS_PER_TOKEN = 16
_SEGMENT_CHARS = 1 << 20


class Tokenizer(Protocol):
    """What chunking needs of a model's tokenizer."""

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where each token lies in the text, special tokens left out."""
        ...


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage: `text` is `document.text[start:end]`.

    `rest` is what follows it in a document of which this is the only chunk: the model does not see
    it, lexical search does. `gap` is what lies before it and in no chunk, which is white space:
    with it the chunks of a document give back its text. `fields` and `groups` are the document's.
    """

    document: str
    title: str
    start: int
    end: int
    text: str
    rest: str = ""
    gap: str = ""
    fields: Mapping[str, Scalar] = field(default_factory=dict)
    groups: tuple[str, ...] = ()

    @property
    def embedded(self) -> str:
        """What the model sees: the title gives every passage of a document its subject."""
        return f"{self.title} {self.text}" if self.title else self.text


@dataclass(frozen=True, kw_only=True, slots=True)
class ChunkRule:
    """How documents are cut.

    `max_tokens` counts the title, but not the model's special tokens. `first_only` keeps a
    document's first chunk alone, which is what a model that cuts its input off sees of it.
    """

    max_tokens: int
    overlap_tokens: int = 32
    first_only: bool = False

    def __post_init__(self) -> None:
        if self.max_tokens < 8 or not 0 <= self.overlap_tokens < self.max_tokens // 2:
            raise ValueError(f"cannot cut by {self}")


def chunks(document: Document, tokenizer: Tokenizer, rule: ChunkRule) -> Iterator[Chunk]:
    """The document's chunks in order; neighbours overlap by whole sentences or not at all.

    A document that fits the window is one chunk. Others are cut where a paragraph ends, else a
    sentence, else a line, else a word, in the second half of the window. A long title leaves the
    text at least half the window (the model then cuts off the end).
    """
    title_tokens = len(tokenizer.spans(document.title)) if document.title else 0
    room = max(rule.max_tokens - title_tokens, rule.max_tokens // 2)
    reached = 0
    made = False
    about = (document.fields, document.groups)
    for start, end in _segments(document.text):
        for span in _cut(document.text[start:end], tokenizer, room, rule.overlap_tokens):
            span = strip_span(document.text, start + span[0], start + span[1])
            if span[0] < span[1]:
                made = True
                text = document.text[span[0] : span[1]]
                rest = document.text[span[1] :] if rule.first_only else ""
                gap = document.text[reached : span[0]]
                reached = max(reached, span[1])
                yield Chunk(document.id, document.title, *span, text, rest, gap, *about)
                if rule.first_only:
                    return
    if not made:
        yield Chunk(document.id, document.title, 0, 0, "", "", "", *about)


def _segments(text: str) -> Iterator[tuple[int, int]]:
    """Stretches of bounded length, ended at a line where there is one: tokens cost 100 bytes
    each.
    """
    start = 0
    while start < len(text):
        end = min(start + _SEGMENT_CHARS, len(text))
        if end < len(text) and (line := text.rfind("\n", start + _SEGMENT_CHARS // 2, end)) > 0:
            end = line + 1
        yield start, end
        start = end


def _cut(text: str, tokenizer: Tokenizer, room: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Spans of at most `room` tokens."""
    spans = list(_bounded(tokenizer.spans(text), room * _MAX_CHARS_PER_TOKEN // 2))
    begins = [start for start, _ in spans]
    cuts = _Cuts(text)
    first = 0
    while first < len(spans):
        furthest = begins[first] + room * _MAX_CHARS_PER_TOKEN
        last = min(first + room, max(bisect_left(begins, furthest), first + 1))
        if last >= len(spans):
            yield begins[first], spans[-1][1]
            return
        middle = first + (last - first) // 2
        cut = cuts.best(begins[middle] + 1, begins[last]) or begins[last]
        yield begins[first], cut
        after = bisect_left(begins, cut)
        back = max(after - overlap, first + 1)
        again = cuts.next_sentence(begins[back], cut) if overlap else None
        first = bisect_left(begins, again) if again is not None else after


def _bounded(spans: list[tuple[int, int]], most: int) -> Iterator[tuple[int, int]]:
    """The spans, those of over `most` characters in pieces."""
    for start, end in spans:
        while end - start > most:
            yield start, start + most
            start += most
        yield start, end


class _Cuts:
    """The places of a text where it may be cut, best kind first."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._paragraphs = paragraph_starts(text)
        self._sentences = sentence_starts(text)

    def best(self, low: int, high: int) -> int | None:
        """The last good place in [low, high], or None."""
        for starts in (self._paragraphs, self._sentences):
            at = bisect_right(starts, high) - 1
            if at >= 0 and starts[at] >= low:
                return starts[at]
        for mark in ("\n", " "):
            if (at := self._text.rfind(mark, low, high)) >= 0:
                return at + 1
        return None

    def next_sentence(self, low: int, high: int) -> int | None:
        """The first sentence's beginning in [low, high), or None."""
        at = bisect_left(self._sentences, low)
        return (
            self._sentences[at]
            if at < len(self._sentences) and self._sentences[at] < high
            else None
        )
