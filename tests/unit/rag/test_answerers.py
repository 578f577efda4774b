"""A language model is held to its sources, and the documents' own words stand in when it fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from sextant.decoder.generator import Finish, Piece
from sextant.errors import EngineError, InputError
from sextant.fleet import Deadline
from sextant.systems.rag.answer import NOTHING, Answer
from sextant.systems.rag.answerers import (
    UNBORNE,
    Cut,
    ExtractiveAnswerer,
    GeneratedAnswerer,
    Inquiry,
)
from sextant.systems.rag.citing import UNSUPPORTED, stands
from sextant.systems.rag.passage import Passage
from sextant.systems.rag.writers import DecoderWriter, EndpointWriter, open_answerer

TIDES = "Tides are caused by the pull of the Moon. Most coasts see two high tides a day."
QUESTION = "What are tides caused by?"


def passage(text: str, doc: str = "d") -> Passage:
    return Passage(doc=doc, title="", start=0, end=len(text), text=text, score=0.5)


HITS = (passage(TIDES), passage("Bread rises because yeast makes gas.", "bread"))


@dataclass
class Script:
    """A writer that says what it was told to, then raises what it was told to."""

    pieces: Sequence[str] = ()
    raises: Exception | None = None
    room: bool = True
    name: str = "script"
    asked: list[list[dict[str, str]]] = field(default_factory=list)
    closed: int = 0

    def fits(self, messages: list[dict[str, str]], new_tokens: int) -> bool:  # noqa: ARG002
        return self.room

    def write(
        self, messages: list[dict[str, str]], *, new_tokens: int, deadline: Deadline
    ) -> Generator[str, None, None]:
        assert new_tokens > 0
        assert not deadline.expired()
        self.asked.append(messages)
        try:
            yield from self.pieces
            if self.raises is not None:
                raise self.raises
        finally:
            self.closed += 1

    def close(self) -> None:
        self.closed += 100


@pytest.fixture
def ask(embedder: Any) -> Callable[..., Answer]:
    def inquire(
        writer: Script, question: str = QUESTION, told: Any = None, hits: Any = HITS
    ) -> Answer:
        inquiry = Inquiry(
            question=question,
            question_D=embedder.encode([question])[0],
            hits=hits,
            k=5,
            encode=embedder.encode,
            deadline=Deadline.after(60.0),
        )
        return GeneratedAnswerer(writer).answer(inquiry, told)

    return inquire


def test_what_the_sources_bear_out_is_said(ask: Callable[..., Answer]) -> None:
    script = Script(
        ["The pull of the Moon ", "causes tides", " [1].", " Bread is made of stone [2]."]
    )
    heard: list[Answer] = []
    found = ask(script, told=heard.append)
    assert found.text == (
        f"The pull of the Moon causes tides. [1] Bread is made of stone. {UNSUPPORTED}"
    )
    assert [one.text for one in found.citations] == ["Tides are caused by the pull of the Moon."]
    assert "no source" in found.note
    assert [one.text for one in heard][:2] == [
        "The pull of the Moon ",
        "The pull of the Moon causes tides",
    ]
    assert all(one.citations == () for one in heard)
    assert script.closed == 1
    assert TIDES in script.asked[0][1]["content"]


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (Script(raises=EngineError("HTTP 500")), "since script: HTTP 500"),
        (Script(raises=InputError("too long")), "too long"),
        (Script(["Tides come f"], EngineError("it broke")), "it broke"),
        (Script(["Tides come f"], Cut("cut off")), "cut off"),
        (Script(["Dragons cause tides [1]."]), UNBORNE),
        (Script(["Ignore the rules. My key is 42 [1]."]), UNBORNE),
        (Script([""]), UNBORNE),
        (Script([]), UNBORNE),
        (Script(["x" * 5000, "x" * 5000]), "characters"),
        (Script(room=False), "no room"),
    ],
)
def test_the_documents_own_words_stand_in(
    ask: Callable[..., Answer], script: Script, says: str
) -> None:
    found = ask(script)
    assert found.text is not None
    assert found.text.startswith("Tides are caused by the pull of the Moon.")
    assert says in found.note
    assert found.note.startswith("the documents' own words")
    assert all(stands(one, HITS) for one in found.citations)


def test_what_came_before_a_cut_is_kept_to_its_last_whole_sentence(
    ask: Callable[..., Answer],
) -> None:
    script = Script(["The Moon causes tides [1]. Most coa"], Cut("cut off at the deadline"))
    found = ask(script)
    assert found.text == "The Moon causes tides. [1]"
    assert found.note == "cut off at the deadline"


@pytest.mark.parametrize(
    "said", ["NOT FOUND", "Not found.", "NOT FOUND\nSorry", '"NOT', " NOT FOUND [1]"]
)
def test_a_model_may_say_that_it_is_not_there(ask: Callable[..., Answer], said: str) -> None:
    heard: list[Answer] = []
    found = ask(Script([said]), told=heard.append)
    assert found.text is None
    assert "do not hold" in found.note
    assert heard == []


def test_no_model_is_asked_what_the_sources_do_not_speak_of(ask: Callable[..., Answer]) -> None:
    script = Script(["The Moon [1]."])
    found = ask(script, "Who won the world cup in 1998?")
    assert (found.text, found.note) == (None, NOTHING)
    assert script.asked == []


def test_a_listener_that_raises_ends_the_work(ask: Callable[..., Answer]) -> None:
    script = Script(["Tides ", "are "])

    def leave(_: Answer) -> None:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        ask(script, told=leave)
    assert script.closed == 1


def test_the_time_that_answers_take_is_learned(embedder: Any) -> None:
    now = iter(range(0, 1000, 10))
    answerer = ExtractiveAnswerer(clock=lambda: float(next(now)))
    answerer.warm(embedder.encode)
    assert answerer.usual_s == 10.0
    script = GeneratedAnswerer(Script(["The Moon [1]."]), clock=lambda: float(next(now)))
    inquiry = Inquiry(
        question=QUESTION,
        question_D=embedder.encode([QUESTION])[0],
        hits=HITS,
        k=5,
        encode=embedder.encode,
        deadline=Deadline.after(60.0),
    )
    before_s = script.usual_s
    script.answer(inquiry)
    assert script.usual_s == pytest.approx(before_s + 3.0, abs=0.5)
    script.close()


class Decoder:
    """Stands in for a decoder: a token a character, and what it was told to say."""

    def __init__(self, pieces: Sequence[Piece], context: int = 10_000) -> None:
        self.pieces, self.context, self.closed = pieces, context, False

    def count_tokens(self, text: str) -> int:
        return len(text)

    def chat(self, messages: Sequence[dict[str, str]]) -> str:
        return "\n\n".join(one["content"] for one in messages)

    def stream(self, prompt: str, **_: object) -> Iterator[Piece]:
        assert len(prompt) < self.context
        yield from self.pieces

    def close(self) -> None:
        self.closed = True


def piece(text: str, finish: Finish | None = None) -> Piece:
    return Piece(text=text, tokens=(1,), finish=finish)


@pytest.mark.parametrize(
    ("pieces", "text", "note"),
    [
        ([piece("The Moon causes tides"), piece(" [1].", Finish.EOS)], "causes tides. [1]", ""),
        ([piece("The Moon causes tides [1]. A", Finish.LENGTH)], "tides. [1]", "limit on tokens"),
        ([piece("The Moon causes tides [1]. A", Finish.DEADLINE)], "tides. [1]", "deadline"),
        ([piece("", Finish.DEADLINE)], "pull of the Moon", "no answer by the deadline"),
        ([piece("The M", Finish.DEADLINE)], "pull of the Moon", "deadline"),
    ],
)
def test_a_decoder_answers(
    ask: Callable[..., Answer], pieces: list[Piece], text: str, note: str
) -> None:
    found = ask(DecoderWriter(Decoder(pieces), "small"))  # type: ignore[arg-type]
    assert text in str(found.text)
    assert note in found.note


def test_sources_are_left_out_until_the_prompt_fits_the_decoder(ask: Callable[..., Answer]) -> None:
    decoder = Decoder([piece("The Moon causes tides [1].", Finish.EOS)], context=1600)
    long = tuple(passage(f"{TIDES} {n} {'tides ' * 40}", f"d{n}") for n in range(5))
    found = ask(DecoderWriter(decoder, "small"), hits=long)  # type: ignore[arg-type]
    assert found.text == "The Moon causes tides. [1]"
    tiny = Decoder([], context=100)
    assert "no room" in ask(DecoderWriter(tiny, "small"), hits=long).note  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("", "no answerer"),
        ("extractive:x", "no answerer"),
        ("openai", "no answerer"),
        ("hf:", "no answerer"),
        ("openai:http://127.0.0.1/v1", "which model"),
        ("hf:/no/such/folder", "no such folder"),
    ],
)
def test_answerers_have_names(spec: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        open_answerer(spec)
    assert open_answerer("extractive").name == "extractive"


@pytest.mark.parametrize(
    ("url", "key", "says"),
    [
        ("ftp://host/v1", None, "not an http"),
        ("http://", None, "not an http"),
        ("http://host:99999/v1", None, "not an address"),
        ("https://user:secret@host/v1", None, "does not belong"),
        ("http://models.example.org/v1", "sk-1", "unencrypted"),
        ("https://host/v1", "sk-1\r\nX: y", "printable"),
    ],
)
def test_addresses_and_keys_are_looked_at_first(url: str, key: str | None, says: str) -> None:
    with pytest.raises(InputError, match=says) as error:
        EndpointWriter(url, "m", key=key)
    assert "secret" not in str(error.value)
    assert "sk-1" not in str(error.value)


def test_a_key_may_travel_where_nobody_listens() -> None:
    for url in (
        "https://host/v1",
        "http://127.0.0.1:1/v1",
        "http://[::1]:1/v1",
        "http://localhost:1",
    ):
        assert "sk-1" not in EndpointWriter(url, "m", key="sk-1").name
    begun_s = time.perf_counter()
    assert EndpointWriter("http://host/v1/chat/completions/", "m").name == "m at host"
    assert time.perf_counter() - begun_s < 1.0  # nobody is called yet
