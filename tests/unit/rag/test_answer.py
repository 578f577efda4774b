"""Extractive answers: which sentence is chosen, how it is cited, and when nothing is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.systems.rag.answer import HURRIED, NOTHING, answer
from sextant.systems.rag.answer_rule import AnswerRule
from sextant.systems.rag.citing import stands
from sextant.systems.rag.passage import Passage
from sextant.systems.rag.question import Asked, Cover, Wanted, leans_back, points_on, stems

TIDES = (
    "Tides are caused by the pull of the Moon. The Bay of Fundy has a tidal range of 16 metres. "
    "Most coasts see two high tides a day."
)


def passage(text: str, doc: str = "d", *, start: int = 0, title: str = "") -> Passage:
    return Passage(doc=doc, title=title, start=start, end=start + len(text), text=text, score=0.5)


def said(embedder: Any, question: str, *hits: Passage, **changes: Any) -> Any:
    vector_D = embedder.encode([question])[0]
    return answer(question, vector_D, hits, embedder.encode, AnswerRule(**changes))


def score_of(text: str, found: Any) -> float:
    """What a cited sentence scored; below all where it is not cited."""
    return max((one.score for one in found.citations if one.text == text), default=-9.0)


def test_the_sentence_that_speaks_of_the_question_is_cited_exactly(embedder: Any) -> None:
    found = said(embedder, "What are tides caused by?", passage(TIDES, start=40))
    first = found.citations[0]
    assert first.text == "Tides are caused by the pull of the Moon."
    assert (first.start, first.end) == (40, 40 + len(first.text))
    assert str(found.text).startswith(first.text)
    assert found.note == ""


def test_how_many_wants_a_number(embedder: Any) -> None:
    texts = ["The range of the tide in Fundy is wide.", "The tide in Fundy comes to 16 metres."]
    changes = {"before": 0.0, "margin": 9.0}
    found, idle = (
        said(
            embedder, "How high is the tide in Fundy?", passage(" ".join(texts)), lacks=x, **changes
        )
        for x in (0.2, 0.0)
    )
    assert found.citations[0].text == texts[1]
    assert score_of(texts[0], idle) - score_of(texts[0], found) == pytest.approx(0.2, abs=1e-5)
    assert score_of(texts[1], idle) == pytest.approx(score_of(texts[1], found))


@pytest.mark.parametrize(
    ("heading", "rest"),
    [
        ("The break statement", "The break statement ends the nearest enclosing loop at once."),
        ("The break statement.", "A break statement leaves the nearest loop."),
    ],
)
def test_a_heading_is_no_answer(embedder: Any, heading: str, rest: str) -> None:
    found = said(embedder, "What does the break statement do?", passage(f"{heading}\n\n{rest}"))
    assert found.citations[0].text == rest


@pytest.mark.parametrize(
    "code",
    [
        '```\nThe tide = turn(at="noon") # the tide turns\n```',
        '{"tide": {"turns": "noon", "why": "[refused]"}, "the tide": {"turns": "again"}}',
        "| tide | turns | when |\n| the tide | noon | every day |",
    ],
)
def test_markup_and_code_are_no_answer(embedder: Any, code: str) -> None:
    prose = "At noon the tide turns in this harbour."
    found = said(embedder, "When does the tide turn?", passage(f"{code}\n\n{prose}"), margin=9.0)
    assert [one.text for one in found.citations] == [prose]


def test_a_sentence_that_leans_on_the_one_before_takes_it_along(embedder: Any) -> None:
    text = "Manning was drafted in 1998. He is the oldest quarterback ever to play a final."
    found = said(embedder, "Who is the oldest quarterback to play a final?", passage(text))
    assert found.citations[0].text == text
    assert found.citations[0].start == 0


def test_a_pointer_elsewhere_gives_way(embedder: Any) -> None:
    text = "For full details of yield see section 6. A yield pauses its function and hands out."
    found = said(embedder, "What are the details of yield?", passage(text), margin=0.0, empty=0.0)
    plain = said(
        embedder,
        "What are the details of yield?",
        passage(text),
        margin=0.0,
        empty=0.0,
        elsewhere=0.0,
    )
    assert found.citations[0].score < plain.citations[0].score


def test_of_two_passages_that_say_the_same_one_is_cited(embedder: Any) -> None:
    found = said(
        embedder, "What are tides caused by?", passage(TIDES, "a"), passage(TIDES, "b"), margin=9.0
    )
    assert {one.doc for one in found.citations} == {"a"}
    assert len(found.citations) == 2


def test_nothing_is_said_of_what_the_passages_do_not_hold(embedder: Any) -> None:
    found = said(embedder, "Who won the football world cup in 1998?", passage(TIDES))
    assert (found.text, found.note, found.citations) == (None, NOTHING, ())
    assert said(embedder, "What are tides caused by?").text is None


def test_without_time_words_decide_and_it_says_so(embedder: Any) -> None:
    question = "What are tides caused by?"
    vector_D = embedder.encode([question])[0]
    encoded = embedder.num_encoded
    found = answer(question, vector_D, [passage(TIDES)], None)
    assert found.note == HURRIED
    assert found.citations[0].text.startswith("Tides are caused")
    assert answer("Who won the cup?", vector_D, [passage(TIDES)], None).text is None
    assert embedder.num_encoded == encoded


def test_no_more_is_embedded_than_the_rule_says(embedder: Any) -> None:
    text = " ".join(f"Tide number {n} is caused by something." for n in range(60))
    encoded = embedder.num_encoded
    said(embedder, "What causes tide number 7?", passage(text), candidates=3)
    assert embedder.num_encoded == encoded + 1 + 3


def test_a_title_without_text_is_cited_as_an_empty_span(embedder: Any) -> None:
    found = said(embedder, "Tides and moons?", passage("", title="Tides and moons of Fundy"))
    assert found.text == "Tides and moons of Fundy"
    assert (found.citations[0].start, found.citations[0].end) == (0, 0)


def test_a_word_that_is_spoken_of_is_content() -> None:
    assert "with" in Asked.of("How does the with statement work?").words
    assert "with" not in Asked.of("How do I work with files?").words
    assert ("with", "statement") in Asked.of("How does the with statement work?").pairs
    # Nothing but function words is better asked for than nothing.
    assert Asked.of("What is it?").words == {"what", "is", "it"}


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ("How many sacks had he?", Wanted.NUMBER),
        ("What percentage of forests was lost?", Wanted.NUMBER),
        ("When was it built?", Wanted.DATE),
        ("In which year did Rollo arrive?", Wanted.DATE),
        ("Who arrived?", None),
    ],
)
def test_what_a_question_wants(question: str, wanted: Wanted | None) -> None:
    assert Asked.of(question).wanted is wanted


def test_a_number_of_the_question_is_no_answer_to_it() -> None:
    asked = Asked.of("How many points were scored in 2015?")
    assert asked.lacks_wanted("It was scored in 2015.")
    assert not asked.lacks_wanted("In 2015 they scored 308 points.")
    assert not Asked.of("Who scored?").lacks_wanted("They did.")


def test_small_readings_of_sentences() -> None:
    assert leans_back("It was built in 1835.")
    assert not leans_back("Itaipu was built in 1984.")
    assert points_on("This is equivalent to:")
    assert points_on("For more details refer to the manual.")
    assert not points_on("Ships refer their owners to it.")
    assert stems("parses parsing") == ["pars", "pars"]


def test_rare_words_weigh_more() -> None:
    cover = Cover({"tid", "fundy"}, [{"tid"}, {"tid"}, {"tid", "fundy"}])
    assert cover.of({"fundy"}) > cover.of({"tid"}) > 0
    assert cover.of({"fundy", "tid"}) == pytest.approx(1.0)


SENTENCES = st.lists(
    st.sampled_from(
        [
            "Tides rise.",
            "It falls.",
            "The Moon pulls 3 times.",
            "\n\nHead\n\n",
            "See section 4.",
            "é 🚀.",
        ]
    ),
    max_size=8,
).map(" ".join)


@given(
    texts=st.lists(SENTENCES, max_size=4), question=st.text(max_size=30) | st.just("When tides?")
)
def test_whatever_the_passages_citations_stand_and_do_not_overlap(
    texts: Sequence[str], question: str
) -> None:
    hits = [passage(text, f"d{n % 2}", start=7 * n) for n, text in enumerate(texts)]
    found = answer(
        question,
        np.ones(4, np.float32),
        hits,
        lambda asked: np.ones((len(asked), 4), np.float32),
        replace(AnswerRule(), least=-9.0, sentences=3, margin=9.0),
    )
    assert (found.text is None) == (not found.citations)
    assert all(stands(one, hits) for one in found.citations)
    for at, one in enumerate(found.citations):
        for other in found.citations[:at]:
            assert one.doc != other.doc or one.end <= other.start or other.end <= one.start
