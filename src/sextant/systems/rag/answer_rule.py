"""How the sentences of the found passages are weighed, and when nothing is said."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerRule:
    """A sentence scores the sum of

        cosine(question, title and sentence)
        words     * the share of the question's words that it holds, rare ones counting more
        before    * what the sentence before it adds to that share
        pairs     * the share of the question's neighbouring words that it holds as neighbours
        passage   * the share of the words that its passage and title hold
        passage_pairs * the share of the neighbouring words that they hold
        - lacks   if the question wants a number or a date and the sentence has none to offer
        - empty   if the sentence says hardly more than the question does, as headings do
        - elsewhere  if it refers to another place, or leads to an example

    and nothing is answered where the best scores less than `least` (`least_hurried` where words
    alone are weighed, without the cosine). Passages' own scores play no part: they mean another
    thing for every way of searching.

    `sentences` may be cited, the later ones within `margin` of the best. Only the `candidates`
    that words speak most for are embedded: with 3 of 50 the answers are as good as with all.

    Source: set by hand on SQuAD 1.1 dev's articles. `python -m benchmarks.answer_rule` shows what
    each part is worth, and what each bound does, on the even ones; `python -m benchmarks squad`
    measures on the odd ones. Which parts there are was found while looking at both.
    """

    passages: int = 12
    candidates: int = 3
    sentences: int = 2
    margin: float = 0.25
    words: float = 0.9
    before: float = 0.4
    pairs: float = 0.4
    passage: float = 0.4
    passage_pairs: float = 0.2
    lacks: float = 0.2
    empty: float = 0.3
    elsewhere: float = 0.3
    least: float = 0.85
    least_hurried: float = 0.5
