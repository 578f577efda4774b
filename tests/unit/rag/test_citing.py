"""Citations are checked: every way of getting one past the check that was thought of."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sextant.systems.rag.answer import Answer
from sextant.systems.rag.citing import (
    FORGED,
    UNSUPPORTED,
    checked,
    shown,
    stands,
    verified,
)
from sextant.systems.rag.passage import Passage

NFL = "The Panthers gave up 308 points in 2015. They led the league. Jared Allen had 136 sacks."
TIDES = (
    "Tides are caused by the Moon. Most coasts see two high tides a day. Fish do not cause them."
)


def passage(text: str, doc: str, start: int = 0, title: str = "") -> Passage:
    return Passage(doc=doc, title=title, start=start, end=start + len(text), text=text, score=0.5)


HITS = [passage(NFL, "nfl", 100, "Panthers"), passage(TIDES, "tides")]


def cut(hit: Passage, start: int, end: int) -> Passage:
    return replace(
        hit, start=hit.start + start, end=hit.start + end, text=hit.text[start:end], score=9.0
    )


GOOD = cut(HITS[0], 0, 40)


@pytest.mark.parametrize(
    "forged",
    [
        replace(GOOD, doc="tides"),  # another document says it
        replace(GOOD, doc="unread"),  # a document that was not retrieved
        replace(GOOD, title="Another"),
        replace(GOOD, start=GOOD.start + 1, end=GOOD.end + 1),  # the right words, one further
        replace(GOOD, start=GOOD.start - 100, end=GOOD.end - 100),  # offsets into the passage
        replace(GOOD, text=GOOD.text.replace("308", "309")),
        replace(GOOD, text=GOOD.text.upper()),
        replace(GOOD, text=GOOD.text + " "),
        replace(GOOD, end=GOOD.end + 1),  # longer than its words
        replace(GOOD, start=GOOD.end, end=GOOD.start, text=""),  # backwards
        replace(GOOD, end=GOOD.start, text=""),  # says nothing
        replace(GOOD, start=-88, end=-48),  # Python reads negative slices from the end
        replace(HITS[0], start=188 - 100, end=188, text=NFL),  # all of it, elsewhere
        replace(HITS[1], end=len(TIDES) + 5, text=TIDES),  # ends after the document
    ],
)
def test_a_forged_citation_falls_and_the_answer_with_it(forged: Passage) -> None:
    assert stands(GOOD, HITS)
    assert not stands(forged, HITS)
    said = Answer(text="The Panthers gave up 308 points.", note="", citations=(GOOD, forged))
    assert checked(said, HITS) == Answer(text=None, note=FORGED, citations=())
    assert checked(replace(said, citations=(GOOD,)), HITS).citations == (GOOD,)


def test_an_answer_without_citations_falls_and_an_abstention_stays() -> None:
    assert checked(Answer(text="Trust me.", note="", citations=()), HITS).text is None
    silent = Answer(text=None, note="nothing relevant found", citations=())
    assert checked(silent, HITS) is silent


@given(start=st.integers(-200, 400), end=st.integers(-200, 400))
def test_a_span_stands_if_and_only_if_its_words_are_there(start: int, end: int) -> None:
    document = "." * 100 + NFL
    one = replace(GOOD, start=start, end=end, text=document[max(start, 0) : max(end, 0)])
    assert stands(one, HITS[:1]) == (100 <= start < end <= len(document))


def test_a_text_keeps_what_its_sources_bear_out() -> None:
    found = verified("The Panthers gave up 308 points [1]. The Moon causes tides. [2]", HITS)
    assert found.text == "The Panthers gave up 308 points. [1] The Moon causes tides. [2]"
    assert [one.text for one in found.citations] == [
        "The Panthers gave up 308 points in 2015.",
        "Tides are caused by the Moon.",
    ]
    assert (found.citations[0].start, found.citations[0].end) == (100, 140)
    assert (found.claims, found.unsupported) == (2, 0)
    assert all(stands(one, HITS) for one in found.citations)


@pytest.mark.parametrize(
    "text",
    [
        "The Panthers gave up 309 points [1].",  # an altered number
        "The Panthers gave up 3 points [1].",  # a part of a number
        "Peyton Manning gave up points in 2015 [1].",  # a name that is not there
        "Manning gave up points in 2015 [1].",  # even as the first word
        "The Panthers did not give up 308 points [1].",  # the opposite
        "Fish cause tides on most coasts [2].",  # the opposite of what denies
        "Bread rises because yeast makes gas [1].",  # nothing of the sort
        "The Panthers gave up 308 points [2].",  # another source says it
        "The Panthers gave up 308 points [3].",  # no such source
        "The Panthers gave up 308 points [0].",
        "The Panthers gave up 308 points [-1].",
        "The Panthers gave up 308 points [99999].",
        "The Panthers gave up 308 points [１].",  # not a digit of ours
        "The Panthers gave up 308 points [1",
        "The Panthers gave up 308 points.",  # no source at all
        "Yes [1].",
    ],
)
def test_what_the_named_source_does_not_say_is_marked(text: str) -> None:
    found = verified(text, HITS)
    assert found.citations == ()
    assert found.unsupported == found.claims == 1
    assert found.text.endswith(UNSUPPORTED)


@pytest.mark.parametrize(
    "marks",
    ["[1]", "[1, 2]", "[1;2]", "[2-1] [1]", "[1–2]", "[1][1]", "【1】", "[2][1][7]", " [ 1 ]"],
)
def test_marks_are_written_in_many_ways(marks: str) -> None:
    found = verified(f"Jared Allen had 136 sacks{marks}.", HITS)
    assert found.text == "Jared Allen had 136 sacks. [1]"
    assert [one.text for one in found.citations] == ["Jared Allen had 136 sacks."]


def test_a_mark_belongs_to_the_sentence_before_it() -> None:
    found = verified(
        "[2] Tides are caused by the Moon.[2]Fish are not the cause. [2] Nobody knows.", HITS
    )
    assert found.text == (
        f"Tides are caused by the Moon. [1] Fish are not the cause. [2] Nobody knows. {UNSUPPORTED}"
    )


def test_a_claim_of_two_sentences_is_cited_as_both() -> None:
    found = verified("The Panthers gave up 308 points and led the league [1].", HITS)
    assert (
        found.citations[0].text == "The Panthers gave up 308 points in 2015. They led the league."
    )


def test_numbers_of_citations_are_those_of_the_answer() -> None:
    found = verified(
        "The Moon causes tides [2]. Allen had 136 sacks [1]. Tides: the Moon [2].", HITS
    )
    assert found.text.count("[1]") == 2
    assert found.text.count("[2]") == 1
    assert [one.doc for one in found.citations] == ["tides", "nfl"]


@given(st.text(st.sampled_from("[]12,-. 【】?aT\n"), max_size=60))
def test_any_text_can_be_read(text: str) -> None:
    found = verified(text, HITS)
    assert all(stands(one, HITS) for one in found.citations)
    assert found.text.count(UNSUPPORTED) >= found.unsupported


def test_a_wide_range_of_numbers_costs_nothing() -> None:
    assert verified("Allen had 136 sacks [1-9999].", HITS).text.endswith("[1]")


def test_what_is_cited_is_shown() -> None:
    hits = [passage(f"Text number {n}.", f"d{n}") for n in range(6)]
    assert [hit.doc for hit in shown(hits, 3, ())] == ["d0", "d1", "d2"]
    assert [hit.doc for hit in shown(hits, 3, (cut(hits[4], 0, 4),))] == ["d0", "d1", "d4"]
    assert [hit.doc for hit in shown(hits, 1, (cut(hits[5], 0, 4),))] == ["d5"]
    assert shown(hits, 9, ()) == tuple(hits)
