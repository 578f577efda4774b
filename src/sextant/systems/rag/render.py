"""What a person reads of a search, an answer and an evaluation."""

from __future__ import annotations

import shutil
import sys
import textwrap

from sextant.systems.rag.evaluate import Scores
from sextant.systems.rag.passage import Passage
from sextant.systems.rag.service import Result
from sextant.units import show_seconds

_EXCERPT_CHARS = 320
_STAGES = {"embed_s": "embed", "fan_out_s": "fan out", "merge_s": "merge", "answer_s": "answer"}


def search_text(result: Result) -> str:
    """The passages, best first, and how the search went."""
    if not result.hits:
        return f"No passage found.\n\n{footer(result)}"
    parts = []
    for number, hit in enumerate(result.hits, start=1):
        parts.append(
            f"{number:>3}  {_source(hit)}   {hit.score:.3f}\n{_wrapped(_excerpt(hit.text))}"
        )
    return "\n\n".join([*parts, footer(result)])


def answer_text(result: Result) -> str:
    """The answer with numbered sources, or that there is none."""
    if result.answer is None:
        return f"{result.note[0].upper()}{result.note[1:]}.\n\n{footer(result)}"
    said = [
        _wrapped(f"{' '.join(citation.text.split())} [{number}]", indent="")
        for number, citation in enumerate(result.citations, start=1)
    ]
    sources = [
        f"  [{number}] {_source(citation)}"
        for number, citation in enumerate(result.citations, start=1)
    ]
    note = [f"({result.note})"] if result.note else []
    return "\n\n".join(["\n".join(said), "\n".join(sources), *note, footer(result)])


def scores_text(scores: Scores) -> str:
    """The three means."""
    return (
        f"nDCG@10     {scores.ndcg_at_10:.4f}\n"
        f"recall@100  {scores.recall_at_100:.4f}\n"
        f"MRR@10      {scores.mrr_at_10:.4f}\n"
        f"queries     {scores.queries}"
    )


def footer(result: Result) -> str:
    """Coverage, and the time by stage."""
    times = ", ".join(
        f"{name} {show_seconds(result.timing[stage])}"
        for stage, name in _STAGES.items()
        if stage in result.timing
    )
    covered = "all shards answered" if not result.missing else f"coverage {result.coverage:.1%}"
    recall = (
        "" if result.expected_recall >= 1 else f", expected recall {result.expected_recall:.2f}"
    )
    return f"{covered}{recall}; {show_seconds(result.timing['total_s'])} ({times})"


def warn(result: Result) -> None:
    """One line on stderr for each shard that is missing."""
    for missing in result.missing:
        print(f"warning: {missing.member} is missing: {missing.why}", file=sys.stderr)


def _source(passage: Passage) -> str:
    title = f"{passage.title}  " if passage.title and passage.title != passage.doc else ""
    return f"{title}({passage.doc}, characters {passage.start}-{passage.end})"


def _excerpt(text: str) -> str:
    return textwrap.shorten(" ".join(text.split()), _EXCERPT_CHARS, placeholder=" ...")


def _wrapped(text: str, indent: str = "     ") -> str:
    width = min(100, max(40, shutil.get_terminal_size((96, 24)).columns))
    return textwrap.fill(
        text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )
