"""`python -m benchmarks.answer_rule`: what each part of the extractive answerer's rule is worth.

On the even articles of SQuAD, at k=12 by hybrid search: each weight left out, halved and doubled,
then each bound on a grid. It prints and sets nothing: `systems/rag/answer_rule.py` holds what was
chosen. About two minutes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.bench import needs
from benchmarks.squad import Gold, Half, halves, opened
from sextant.systems.rag.answer import Answer, answer
from sextant.systems.rag.answer_rule import AnswerRule
from sextant.systems.rag.embed import Embedder, Floats, open_embedder
from sextant.systems.rag.passage import Passage

_WEIGHTS = ["words", "before", "pairs", "passage", "passage_pairs", "lacks", "empty", "elsewhere"]
_DEADLINE_S = 10.0


@dataclass(slots=True)
class Remembered:
    """An embedder's vectors, each text embedded once."""

    embedder: Embedder
    vectors: dict[str, Floats] = field(default_factory=dict)

    def encode(self, texts: Sequence[str]) -> Floats:
        """The texts' vectors [N, D]."""
        new = [text for text in dict.fromkeys(texts) if text not in self.vectors]
        if new:
            self.vectors.update(zip(new, self.embedder.encode(new), strict=True))
        return np.stack([self.vectors[text] for text in texts])


@dataclass(frozen=True, slots=True)
class Case:
    """A question with what was retrieved for it."""

    gold: Gold
    vector_D: Floats
    hits: tuple[Passage, ...]

    def said(self, rule: AnswerRule, memory: Remembered, *, hurried: bool = False) -> Answer:
        """The answer under a rule."""
        encode = None if hurried else memory.encode
        return answer(self.gold.question, self.vector_D, self.hits, encode, rule)


def main() -> None:
    """Prints the three tables."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    even, odd = halves(needs("squad") / "dev.json")
    memory, rule = Remembered(open_embedder()), AnswerRule()
    own, other = (_cases(even, asked, memory) for asked in (even.questions, odd.questions))
    print("                          first  overlap  answered  abstains on others")
    _show("as it is", rule, own, other, memory)
    for name in _WEIGHTS:
        for factor in (0.0, 0.5, 2.0):
            changed = replace(rule, **{name: factor * getattr(rule, name)})
            _show(f"{name} x {factor}", changed, own, other, memory)
    for candidates in (1, 2, 4, 8, 400):
        _show(f"candidates {candidates}", replace(rule, candidates=candidates), own, other, memory)
    for margin in (0.0, 0.15, 0.25, 0.4):
        _show(f"margin {margin}", replace(rule, margin=margin), own, other, memory)
    for least in (0.6, 0.7, 0.8, 0.85, 0.9, 1.0):
        _show(f"least {least}", replace(rule, least=least), own, other, memory)
    for least in (0.3, 0.4, 0.5, 0.6, 0.7):
        changed = replace(rule, least_hurried=least)
        _show(f"least hurried {least}", changed, own, other, memory, hurried=True)


def _cases(half: Half, questions: Sequence[Gold], memory: Remembered) -> list[Case]:
    vectors_QD = memory.encode([gold.question for gold in questions])
    with opened(half, memory.embedder) as service:
        k = service.answerer.passages
        return [
            Case(gold, vector_D, service.search(gold.question, k=k, deadline_s=_DEADLINE_S).hits)
            for gold, vector_D in zip(questions, vectors_QD, strict=True)
        ]


def _show(
    name: str,
    rule: AnswerRule,
    own: Sequence[Case],
    other: Sequence[Case],
    memory: Remembered,
    *,
    hurried: bool = False,
) -> None:
    said = [(case.gold, case.said(rule, memory, hurried=hurried)) for case in own]
    first = np.mean([any(map(gold.met_by, one.citations[:1])) for gold, one in said])
    overlap = np.mean([any(map(gold.met_by, one.citations)) for gold, one in said])
    answered = np.mean([one.text is not None for _, one in said])
    silent = np.mean([case.said(rule, memory, hurried=hurried).text is None for case in other])
    print(f"{name:<24}  {first:.3f}  {overlap:.3f}    {answered:.3f}     {silent:.3f}", flush=True)


if __name__ == "__main__":
    main()
