"""Extractive answers: the sentences of the found passages that say most about the question, cited
exactly.

Shape suffixes: S candidate sentences, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sextant.systems.rag.answer_rule import AnswerRule
from sextant.systems.rag.embed import Floats
from sextant.systems.rag.passage import Passage
from sextant.systems.rag.question import Asked, Cover, Stem, leans_back, pairs, points_on, stems
from sextant.systems.rag.sentences import is_prose, sentence_spans

NOTHING = "nothing relevant found"
HURRIED = "chosen by words alone: the deadline left no time to compare meanings"
_LONGEST_CHARS = 400
_HARDLY_WORDS = 2
# More sentences than any passage of a window has; a corpus of fragments must not cost seconds.
_MOST_SENTENCES = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What was found to say: nothing (`text` is None, `note` says so) or cited sentences.

    In a generated text `[n]` stands for the n-th citation.
    """

    text: str | None
    note: str
    citations: tuple[Passage, ...]


def answer(
    question: str,
    question_D: Floats,
    hits: Sequence[Passage],
    encode: Callable[[Sequence[str]], Floats] | None,
    rule: AnswerRule | None = None,
) -> Answer:
    """The best sentences of the first hits, each a citation whose offsets are exact in its
    document.

    Args:
        question: as the user wrote it.
        question_D: its unit vector.
        hits: passages, best first.
        encode: texts to unit vectors; None to weigh words alone, when there is no time for more.
        rule: the weights.
    """
    rule = rule or AnswerRule()
    candidates = _candidates(hits[: rule.passages])
    if not candidates:
        return Answer(text=None, note=NOTHING, citations=())
    asked = Asked.of(question)
    # A heading repeats the question and says nothing; markup and code answer nobody in words.
    told = [one for one in candidates if asked.num_new(one.says) and is_prose(one.says)]
    candidates = told or candidates
    scores_S = _score_words(asked, candidates, rule)
    kept = np.sort(np.argsort(-scores_S, kind="stable")[: rule.candidates])
    candidates, scores_S = [candidates[at] for at in kept], scores_S[kept]
    if encode is not None:
        vectors_SD = encode([one.in_context for one in candidates])
        scores_S = scores_S + vectors_SD @ question_D
    order = np.argsort(-scores_S, kind="stable")
    best = float(scores_S[order[0]])
    if best < (rule.least_hurried if encode is None else rule.least):
        return Answer(text=None, note=NOTHING, citations=())
    chosen = [at for at in order[: rule.sentences] if scores_S[at] >= best - rule.margin]
    citations = _apart([candidates[at].cited(float(scores_S[at])) for at in chosen])
    text = " ".join(one.text or one.title for one in citations)
    return Answer(text=text, note="" if encode is not None else HURRIED, citations=citations)


@dataclass(slots=True)
class _Candidate:
    """A sentence: characters [start, end) of a hit's text, the sentence before, and its stems."""

    hit: Passage
    start: int
    end: int
    previous: _Candidate | None
    around: set[Stem]
    """The stems and pairs of its passage and title; shared by the passage's sentences."""
    held: set[Stem] = field(init=False)

    def __post_init__(self) -> None:
        said = stems(self.says)
        self.held = {*said, *pairs(said)}

    @property
    def text(self) -> str:
        return self.hit.text[self.start : self.end]

    @property
    def says(self) -> str:
        """The sentence, or the title of what has no text."""
        return self.text or self.hit.title

    @property
    def in_context(self) -> str:
        """What is embedded: the title gives a sentence its subject, as it does to a passage."""
        return f"{self.hit.title} {self.text}".strip()

    def cited(self, score: float) -> Passage:
        """Its citation; what means nothing on its own takes along the sentence before."""
        leans = self.previous is not None and leans_back(self.text)
        start = self.previous.start if self.previous and leans else self.start
        return replace(
            self.hit,
            start=self.hit.start + start,
            end=self.hit.start + self.end,
            text=self.hit.text[start : self.end],
            score=score,
            dense=None,
            lexical=None,
        )


def _candidates(hits: Sequence[Passage]) -> list[_Candidate]:
    """The sentences of the passages; of those that say the same word for word the first."""
    found: dict[str, _Candidate] = {}
    for hit in hits:
        titled = stems(hit.title)
        around: set[Stem] = {*titled, *pairs(titled)}
        previous: _Candidate | None = None
        for start, end in _short_spans(hit.text) or [(0, len(hit.text))]:
            previous = candidate = _Candidate(hit, start, end, previous, around)
            around |= candidate.held
            found.setdefault(candidate.says, candidate)
            if len(found) == _MOST_SENTENCES:
                return list(found.values())
    return list(found.values())


def _apart(citations: Sequence[Passage]) -> tuple[Passage, ...]:
    """The citations without those that share characters with an earlier one."""
    kept: list[Passage] = []
    for one in citations:
        if not any(
            one.doc == other.doc and one.start < other.end and other.start < one.end
            for other in kept
        ):
            kept.append(one)
    return tuple(kept)


def _short_spans(text: str) -> list[tuple[int, int]]:
    """Sentences, those of many lines (a list, a signature) cut at lines."""
    spans: list[tuple[int, int]] = []
    for start, end in sentence_spans(text):
        while end - start > _LONGEST_CHARS:
            cut = text.rfind("\n", start + 1, start + _LONGEST_CHARS)
            if cut < 0:
                break
            spans.append((start, cut))
            start = cut + 1
            while start < end and text[start].isspace():
                start += 1
        if start < end:
            spans.append((start, end))
    return spans


def _score_words(asked: Asked, candidates: Sequence[_Candidate], rule: AnswerRule) -> Floats:
    """What sentences score [S] before their meanings are compared."""
    sentences = [candidate.held for candidate in candidates]
    words, neighbours = Cover(asked.words, sentences), Cover(asked.pairs, sentences)

    def score(one: _Candidate) -> float:
        own = words.of(one.held)
        before = one.previous.held if one.previous else set()
        total = rule.words * own + rule.before * (words.of(one.held | before) - own)
        total += rule.pairs * neighbours.of(one.held) + rule.passage * words.of(one.around)
        total += rule.passage_pairs * neighbours.of(one.around)
        if asked.lacks_wanted(one.text):
            total -= rule.lacks
        if asked.num_new(one.says) < _HARDLY_WORDS:
            total -= rule.empty
        if points_on(one.text):
            total -= rule.elsewhere
        return total

    return np.array([score(candidate) for candidate in candidates], np.float32)
