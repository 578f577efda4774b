"""Answers over SQuAD's articles: what is cited, what is said, and what is left unsaid.

The 24 articles are split by their order in the file: the rule's weights and bounds are set on the
even ones (`python -m benchmarks.answer_rule`), and the odd ones are measured here. (Which parts the
rule has was found while looking at both.) A question counts as

    cited      if one of the citations lies in a retrieved passage that holds the gold answer: the
               gold span itself, in the paragraph that the question was written for;
    overlap    if a cited span and the gold span share characters there;
    abstained  if there is no answer.

What abstains is neither cited nor overlaps. Token F1 and exact match are SQuAD's own, of the whole
cited text against the gold answers; whole sentences cannot score high there.
"""

from __future__ import annotations

import json
import re
import statistics
import string
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import Figure, needs
from sextant.systems.rag.build import build_index
from sextant.systems.rag.corpus import open_corpus
from sextant.systems.rag.embed import Embedder, open_embedder
from sextant.systems.rag.passage import Passage
from sextant.systems.rag.service import Result, Service, open_service

_K, _DEADLINE_S = 5, 10.0
_CITED, _OVERLAP, _ABSTAINED, _ANSWER_S = 0.85, 0.60, 0.80, 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Gold:
    """One of SQuAD's questions: its paragraph's id, and the gold spans [start, end) there."""

    question: str
    paragraph: str
    spans: tuple[tuple[int, int], ...]
    texts: tuple[str, ...]

    def held_by(self, passage: Passage) -> bool:
        """Whether a passage holds a whole gold span."""
        return passage.doc == self.paragraph and any(
            passage.start <= start and end <= passage.end for start, end in self.spans
        )

    def met_by(self, passage: Passage) -> bool:
        """Whether a passage and a gold span share characters."""
        return passage.doc == self.paragraph and any(
            passage.start < end and start < passage.end for start, end in self.spans
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Half:
    """Every other article: its paragraphs as records of a JSONL corpus, and its questions."""

    records: tuple[dict[str, str], ...]
    questions: tuple[Gold, ...]


def run() -> list[Figure]:
    """Asks the odd articles' questions of their own paragraphs, and of the even articles'."""
    tuning, reported = halves(needs("squad") / "dev.json")
    embedder = open_embedder()
    with opened(reported, embedder) as service:
        own = [ask(service, gold) for gold in reported.questions]
        without = [ask(service, gold, without=True) for gold in reported.questions]
    with opened(tuning, embedder) as service:
        other = [ask(service, gold) for gold in reported.questions]
    pairs = list(zip(reported.questions, own, strict=True))
    return [*_answered(pairs), _abstained(other, without), *_latency(own)]


def halves(path: Path) -> tuple[Half, Half]:
    """The even and the odd articles."""
    articles = json.loads(path.read_text(encoding="utf-8"))["data"]
    even, odd = (_half(articles[first::2]) for first in (0, 1))
    return even, odd


@contextmanager
def opened(half: Half, embedder: Embedder) -> Iterator[Service]:
    """A service over the half's paragraphs, each a document of its own."""
    with tempfile.TemporaryDirectory() as name:
        corpus = Path(name) / "corpus.jsonl"
        corpus.write_text("".join(f"{json.dumps(one)}\n" for one in half.records))
        build_index(open_corpus(str(corpus)), Path(name) / "index", embedder)
        with open_service(Path(name) / "index", embedder=embedder) as service:
            service.warm()
            service.ask("Is all of this warm?", deadline_s=_DEADLINE_S)
            yield service


def ask(service: Service, gold: Gold, *, without: bool = False) -> Result:
    """The answer at k=5; with `without`, as if the question's own paragraph were not there."""
    others = {"not": {"paragraph": gold.paragraph}} if without else None
    return service.ask(gold.question, k=_K, deadline_s=_DEADLINE_S, filter=others)


def _half(articles: Sequence[dict[str, object]]) -> Half:
    records, questions = [], []
    for article in articles:
        for number, paragraph in enumerate(article["paragraphs"]):  # type: ignore[call-overload]
            name = f"{article['title']}/{number}"
            records.append({"_id": name, "text": paragraph["context"], "paragraph": name})
            for asked in paragraph["qas"]:
                texts = tuple(one["text"] for one in asked["answers"])
                starts = [one["answer_start"] for one in asked["answers"]]
                spans = tuple((s, s + len(t)) for s, t in zip(starts, texts, strict=True))
                questions.append(
                    Gold(question=asked["question"], paragraph=name, spans=spans, texts=texts)
                )
    return Half(records=tuple(records), questions=tuple(questions))


def _answered(pairs: Sequence[tuple[Gold, Result]]) -> list[Figure]:
    def cited(gold: Gold, result: Result) -> bool:
        held = [hit for hit in result.hits if gold.held_by(hit)]
        return any(
            one.doc == hit.doc and hit.start <= one.start and one.end <= hit.end
            for hit in held
            for one in result.citations
        )

    scores = [_token_scores(gold, result) for gold, result in pairs]
    overlap = _share(any(map(gold.met_by, result.citations)) for gold, result in pairs)
    shares = {
        "answered": _share(result.answer is not None for _, result in pairs),
        "retrieved": _share(any(map(gold.held_by, result.hits)) for gold, result in pairs),
    }
    strict = {
        "first citation": _share(
            any(map(gold.met_by, result.citations[:1])) for gold, result in pairs
        ),
        "token F1": statistics.mean(f1 for f1, _ in scores),
        "exact match": statistics.mean(exact for _, exact in scores),
    }
    found = _share(cited(gold, result) for gold, result in pairs)
    return [
        Figure(
            name=f"cited passage holds the answer ({len(pairs)})",
            measured=found,
            unit="",
            bar=f">= {_CITED} at k={_K}",
            held=found >= _CITED,
            beside=shares,
        ),
        Figure(
            name="cited span overlaps the answer",
            measured=overlap,
            unit="",
            bar=f">= {_OVERLAP}",
            held=overlap >= _OVERLAP,
            beside=strict,
        ),
    ]


def _abstained(other: Sequence[Result], without: Sequence[Result]) -> Figure:
    share = _share(result.answer is None for result in other)
    return Figure(
        name="abstains on other articles",
        measured=share,
        unit="",
        bar=f">= {_ABSTAINED}",
        held=share >= _ABSTAINED,
        beside={"own paragraph taken away": _share(one.answer is None for one in without)},
    )


def _latency(results: Sequence[Result]) -> list[Figure]:
    def median_s(stage: str) -> float:
        return statistics.median(result.timing[stage] for result in results)

    answer_s = median_s("answer_s")
    return [
        Figure(
            name="answer stage p50",
            measured=answer_s,
            unit="s",
            bar=f"<= {_ANSWER_S * 1e3:.0f} ms at k={_K}",
            held=answer_s <= _ANSWER_S,
            beside={"embedding": median_s("embed_s"), "whole": median_s("total_s")},
        )
    ]


def _token_scores(gold: Gold, result: Result) -> tuple[float, float]:
    """SQuAD's F1 and exact match, the best over the gold answers."""
    said = _tokens(result.answer or "")
    f1 = exact = 0.0
    for text in gold.texts:
        wanted = _tokens(text)
        common = sum((Counter(said) & Counter(wanted)).values())
        f1 = max(f1, 2 * common / (len(said) + len(wanted)) if common else 0.0)
        exact = max(exact, float(said == wanted))
    return f1, exact


def _tokens(text: str) -> list[str]:
    """Words as SQuAD's evaluation compares them: lower case, no punctuation, no articles."""
    plain = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(?:a|an|the)\b", " ", plain).split()


def _share(held: Iterator[bool]) -> float:
    return statistics.mean(map(float, held))
