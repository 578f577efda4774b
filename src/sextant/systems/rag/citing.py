"""Citations are checked: a cited span lies in a passage that was retrieved, word for word, and what
a model claims of it is there.

Nothing here believes an answerer. `checked` is the last thing that happens to every answer;
`verified` reads a generated text with its `[n]`, and keeps of them what the sources bear out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sextant.systems.rag.answer import Answer
from sextant.systems.rag.passage import Passage
from sextant.systems.rag.question import content
from sextant.systems.rag.sentences import sentence_spans

UNSUPPORTED = "[?]"
"""Stands in a text after a sentence that no source was found to say."""
FORGED = "its citations do not stand in what was retrieved"

_MARK = re.compile(r"\s*[\[【]\s*([0-9]{1,4}(?:\s*[,;–-]\s*[0-9]{1,4})*)\s*[\]】]")
_NUMBER = re.compile(r"[0-9]+(?:[.,][0-9]+)*")
_NAME = re.compile(r"\b[A-Z][\w’'-]*")
_NEGATION = re.compile(r"\b(?:not|no|never|none|nor|neither|without|cannot)\b|n['’]t\b", re.I)
# Sentences begin with a capital, so their first words may look like names and be none.
_OPENERS = content(
    "additionally according also although because both but each every furthermore he her his "
    "however moreover no only overall she since therefore thus when while yes"
)
_LEAST_SHARE = 0.6
_MOST_SPAN_SENTENCES = 3
_SENTENCE_COST = 0.1


def stands(citation: Passage, hits: Sequence[Passage]) -> bool:
    """Whether a citation is a stretch of one of these passages: its document, its offsets and its
    words.
    """
    return any(_within(citation, hit) for hit in hits)


def checked(said: Answer, hits: Sequence[Passage]) -> Answer:
    """The answer if each of its citations stands in the passages; else none, with a note.

    An answerer that gets one wrong has lost its claim to be believed.
    """
    if said.text is None or (said.citations and all(stands(one, hits) for one in said.citations)):
        return said
    return Answer(text=None, note=FORGED, citations=())


def shown(hits: Sequence[Passage], k: int, citations: Sequence[Passage]) -> tuple[Passage, ...]:
    """K of the passages: the best, but all those that are cited, in the order of the hits."""
    cited = [any(stands(one, [hit]) for one in citations) for hit in hits]
    # The sort is stable: cited ones first, then by rank.
    kept = sorted(sorted(range(len(hits)), key=lambda at: not cited[at])[:k])
    return tuple(hits[at] for at in kept)


@dataclass(frozen=True, kw_only=True, slots=True)
class Verified:
    """A generated text after its citations were checked.

    Attributes:
        text: with `[n]` for the n-th of the citations, and `UNSUPPORTED` where none holds.
        citations: the sentences of the sources that bear the text out.
        claims: sentences of the text.
        unsupported: those among them that no source was found to say.
    """

    text: str
    citations: tuple[Passage, ...]
    claims: int
    unsupported: int


def verified(text: str, sources: Sequence[Passage]) -> Verified:
    """Checks each sentence of a text against the sources that it names.

    A source bears a sentence out if at most three neighbouring sentences of it hold every number
    and name of it and three fifths of its content words, and deny something if and only if it does.
    This reads words, not sense: it catches what was made up or altered, not every wrong conclusion.
    A number that names no source is removed from the text, and so is one whose source does not bear
    the sentence out.
    """
    citations: list[Passage] = []
    written: list[str] = []
    claims = unsupported = 0
    for claim, numbers in _claims(text):
        claims += 1
        marks: list[str] = []
        for number in numbers:
            place = _place(claim, sources[number - 1]) if 1 <= number <= len(sources) else None
            if place is None:
                continue
            if place not in citations:
                citations.append(place)
            mark = f"[{citations.index(place) + 1}]"
            if mark not in marks:
                marks.append(mark)
        unsupported += not marks
        written.append(f"{claim} {''.join(marks) or UNSUPPORTED}")
    return Verified(
        text=" ".join(written),
        citations=tuple(citations),
        claims=claims,
        unsupported=unsupported,
    )


def _within(citation: Passage, hit: Passage) -> bool:
    if (citation.doc, citation.title) != (hit.doc, hit.title):
        return False
    start, end = citation.start - hit.start, citation.end - hit.start
    # Before Python's own slices would read a negative number as from the end.
    if not 0 <= start <= end <= len(hit.text):
        return False
    # An empty span cites a title that has no text.
    return hit.text[start:end] == citation.text and (start < end or not hit.text)


def _claims(text: str) -> Iterator[tuple[str, list[int]]]:
    """The sentences of a text without their marks, each with the sources that it names.

    A mark belongs to the sentence that it stands in or after, and one at the very beginning to the
    first.
    """
    plain, marks, end = "", list[tuple[int, list[int]]](), 0
    for mark in _MARK.finditer(text):
        plain += text[end : mark.start()]
        end = mark.end()
        marks.append((len(plain), list(_numbers(mark.group(1)))))
        if text[end : end + 1].isalnum():
            plain += " "
    plain += text[end:]
    spans = sentence_spans(plain)
    named: list[list[int]] = [[] for _ in spans]
    for at, numbers in marks:
        owner = max((n for n, (start, _) in enumerate(spans) if start < at), default=0)
        if spans:
            named[owner] += numbers
    for (start, stop), numbers in zip(spans, named, strict=True):
        yield plain[start:stop], numbers


def _numbers(mark: str) -> Iterator[int]:
    """The numbers of a mark such as `1, 3` or `2-4`; a wide range is not believed."""
    for part in re.split(r"\s*[,;]\s*", mark):
        first, *last = (int(number) for number in re.split(r"\s*[–-]\s*", part))
        stop = last[-1] if last else first
        yield from range(first, min(stop, first + 9) + 1)


def _place(claim: str, source: Passage) -> Passage | None:
    """The sentences of a source that bear a claim out best, as a citation; None if none do."""
    spans = sentence_spans(source.text)
    best, place = 0.0, None
    for first in range(len(spans)):
        for count in range(min(_MOST_SPAN_SENTENCES, len(spans) - first)):
            start, end = spans[first][0], spans[first + count][1]
            text = source.text[start:end]
            share = _support(claim, f"{source.title} {text}")
            # Another sentence must say more of the claim than the claim could do without.
            if share >= _LEAST_SHARE and share - _SENTENCE_COST * count > best:
                best = share - _SENTENCE_COST * count
                place = replace(
                    source,
                    start=source.start + start,
                    end=source.start + end,
                    text=text,
                    score=share,
                    dense=None,
                    lexical=None,
                )
    return place


def _support(claim: str, text: str) -> float:
    """The share of a claim's content words that a text holds; 0 if a number or a name is missing,
    or one denies what the other says.
    """
    held, words = content(text), content(claim)
    names = content(" ".join(_NAME.findall(claim))) - _OPENERS
    numbers = set(_NUMBER.findall(claim)) - set(_NUMBER.findall(text))
    denied = bool(_NEGATION.search(claim)) != bool(_NEGATION.search(text))
    if numbers or denied or not names <= held:
        return 0.0
    return len(words & held) / len(words) if words else 0.0
