"""A question with its answer, the passages it stands on, and where its time went."""

from __future__ import annotations

import math

from sextant.sights.markup import Html, span, tag
from sextant.sights.onepage.answers import section
from sextant.sights.onepage.bars import legend_flow, stacked
from sextant.sights.onepage.words import percent
from sextant.sights.rehearsal import Answers, Citation
from sextant.sights.scene import clip
from sextant.sights.sheet import Block, Flow

ANSWER_LENGTH = 360
PASSAGE_LENGTH = 150
MOST_CITATIONS = 4


def question_block(answers: Answers, num_citations: int = MOST_CITATIONS) -> Block:
    """One question of a reader, answered."""
    answer = clip(answers.answer, ANSWER_LENGTH)
    shown = answers.citations[:num_citations]
    items = [_citation(citation) for citation in shown]
    pieces = [
        (name.removesuffix("_s").replace("_", " "), seconds, f"t-{index % 2}")
        for index, (name, seconds) in enumerate(answers.timing.items())
        if seconds > 0 and name not in ("total", "total_s")
    ]
    deadline_s = answers.deadline_s if answers.deadline_s is not None else math.inf
    timing = stacked(pieces, deadline_s) if pieces else ()
    missing = "; ".join(f"{m.shard} missing ({m.why})" for m in answers.missing)
    flows = [
        Flow(length=len(clip(answers.question, 160)), rem=1.12),
        Flow(length=len(answer), rem=1.0),
    ]
    flows += [Flow(length=_citation_length(c), share=0.97, rem=0.86) for c in shown]
    if missing:
        flows.append(Flow(length=min(180, len(missing)), rem=0.9))
    if pieces:
        flows.append(legend_flow([name for name, _, _ in pieces]))
    return Block(
        html=section(
            "A question, answered",
            tag("p", clip(answers.question, 160), class_="question"),
            tag("p", answer, class_="answer"),
            tag("ol", *items, class_="citations") if items else None,
            tag("p", clip(missing, 180), class_="missing") if missing else None,
            *timing,
            class_="questions",
            aside=f"coverage {percent(answers.coverage)}",
        ),
        flows=tuple(flows),
        rem=3.9 + 0.2 * len(shown) + (2.4 if pieces else 0),
    )


def _citation(citation: Citation) -> Html:
    where = f"{citation.doc}:{citation.start}–{citation.end}"
    return tag(
        "li",
        tag("b", clip(citation.title or citation.doc, 70)),
        " ",
        clip(citation.text, PASSAGE_LENGTH),
        " ",
        span("where", f"{clip(where, 70)}, score {citation.score:.2f}"),
    )


def _citation_length(citation: Citation) -> int:
    where = f"{citation.doc}:{citation.start}–{citation.end}"
    title = min(70, len(citation.title or citation.doc))
    return title + min(PASSAGE_LENGTH, len(citation.text)) + min(70, len(where)) + 16
