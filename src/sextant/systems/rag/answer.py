"""Extractive answers: the sentences of the found passages that say most about the question, cited
exactly.

Shape suffixes: S candidate sentences, D dimensions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sextant.systems.rag.embed import Floats
from sextant.systems.rag.passage import Passage
from sextant.systems.rag.sentences import sentence_spans

NOTHING = "nothing relevant found"
HURRIED = "chosen by words alone: the deadline left no time to compare meanings"
_WORD = re.compile(r"\w+")
_LONGEST_CHARS = 400
_FUNCTION_WORDS = """
a about an and any are as at be been by can could did do does for from had has have how i if in into
is it its made make many may much no not of on or s should so some such than that the their them
then there these they this to use used was we were what when where which who whom whose why will
with would you your
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerRule:
    """How sentences are weighed, and when nothing is said.

    A sentence scores cosine(question, sentence) + `overlap_weight` * (share of the question's words
    that it holds, weighted by how rare they are among the candidates) + `passage_weight` *
    cosine(question, passage).

    Nothing is answered where the best passage's cosine is below `least_relevance`. Measured with
    MiniLM on questions whose answers the index holds and on questions about other things:

        index             questions            answered
        SQuAD paragraphs  of those articles    0.90     (296)
        SciFact           SciFact claims       0.99     (300)
        SQuAD paragraphs  of other articles    0.04     (336)
        SciFact           SQuAD questions      0.13     (632)
        SQuAD paragraphs  SciFact claims       0.01     (300)

    With these weights the citations overlap SQuAD's answer for 0.87 of the questions of its
    articles (0.81 for the first citation alone); weights from 0.3 to 0.6 and 0 to 1 differ by less
    than 0.01.
    """

    passages: int = 5
    candidates: int = 24
    sentences: int = 2
    margin: float = 0.10
    overlap_weight: float = 0.3
    passage_weight: float = 0.5
    least_relevance: float = 0.38


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What was found to say: nothing (`text` is None, `note` says so) or cited sentences."""

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
        hits: passages, best first, scored by cosine.
        encode: texts to unit vectors; None to weigh words alone, when there is no time for more.
        rule: the weights.
    """
    rule = rule or AnswerRule()
    if not hits or hits[0].score < rule.least_relevance:
        return Answer(text=None, note=NOTHING, citations=())
    candidates = _candidates(hits[: rule.passages])
    scores_S = _score_words(question, candidates, rule)
    if len(candidates) > rule.candidates:
        # Embedding is what costs: only sentences that words speak for are worth it.
        kept = np.sort(np.argsort(-scores_S, kind="stable")[: rule.candidates])
        candidates, scores_S = [candidates[at] for at in kept], scores_S[kept]
    if encode is not None:
        vectors_SD = encode([candidate.text for candidate in candidates])
        scores_S = scores_S + vectors_SD @ question_D
    order = np.argsort(-scores_S, kind="stable")
    best = float(scores_S[order[0]])
    chosen = [at for at in order[: rule.sentences] if scores_S[at] >= best - rule.margin]
    citations = tuple(_scored(candidates[at], float(scores_S[at])) for at in chosen)
    return Answer(text=" ".join(one.text for one in citations), note="", citations=citations)


def _candidates(hits: Sequence[Passage]) -> list[Passage]:
    """The sentences of the passages with offsets into their documents; overlapping passages share
    some.
    """
    found: dict[tuple[str, int], Passage] = {}
    for hit in hits:
        for start, end in _short_spans(hit.text):
            sentence = Passage(
                doc=hit.doc,
                title=hit.title,
                start=hit.start + start,
                end=hit.start + end,
                text=hit.text[start:end],
                score=hit.score,
            )
            found.setdefault((hit.doc, sentence.end), sentence)
    # A passage of a title alone has no sentence: it cites the title, as an empty span at its
    # beginning.
    return list(found.values()) or [hits[0]]


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


def _score_words(question: str, candidates: Sequence[Passage], rule: AnswerRule) -> Floats:
    """What sentences score [S] before their meanings are compared."""
    overlap_S = _overlap(question, [candidate.text for candidate in candidates])
    passages_S = np.array([candidate.score for candidate in candidates], np.float32)
    scores_S: Floats = (rule.overlap_weight * overlap_S + rule.passage_weight * passages_S).astype(
        np.float32
    )
    return scores_S


def _overlap(question: str, sentences: Sequence[str]) -> Floats:
    """The share [S] of the question's words that each sentence holds, rare words counting more."""
    words = [set(_stems(sentence)) for sentence in sentences]
    asked = set(_stems(question)) - set(_FUNCTION_WORDS.split())
    weights = {
        word: math.log(1 + len(words) / (0.5 + sum(word in held for held in words)))
        for word in asked
    }
    whole = sum(weights.values()) or 1.0
    return np.array(
        [sum(weight for word, weight in weights.items() if word in held) / whole for held in words],
        dtype=np.float32,
    )


def _stems(text: str) -> list[str]:
    """Words in lower case without the commonest endings, so that `parses` meets `parse`."""
    return [
        re.sub(r"(?:ies|es|s|ing|ed|e)$", "", word) if len(word) > 4 else word
        for word in _WORD.findall(text.lower())
    ]


def _scored(passage: Passage, score: float) -> Passage:
    return replace(passage, score=score)
