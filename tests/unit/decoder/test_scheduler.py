"""Continuous batching: many callers, one batch, everybody's own deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("tokenizers")

from sextant.decoder import Finish, Generator, Sampling, open_generator
from sextant.decoder.generate import News
from sextant.decoder.scheduler import Desk, Order, ScheduledGenerator
from sextant.decoder.text import Text
from sextant.errors import EngineError, InputError
from sextant.fleet import Deadline

PROMPTS = ["the cat", "on the mat and the dog", "a", "the wind was quick"]


@pytest.fixture(scope="module")
def generator(small: Path) -> Iterator[Generator]:
    with open_generator(small, max_concurrent=3) as opened:
        yield opened


def soon() -> Deadline:
    return Deadline.after(30)


class Scripted(Desk):
    """A desk that says `x` for ever, until told otherwise."""

    def __init__(self, act: Callable[[Order], None], rows: int = 2) -> None:
        self.rows = rows
        self.ailment: str | None = None
        self.running: list[int] = []
        self.most = 0
        self._act = act

    def obey(self, order: Order) -> list[News]:
        self.running = [i for i in self.running if i not in order.drop]
        self.running += [request.id for request in order.admit]
        self.most = max(self.most, len(self.running))
        self._act(order)
        time.sleep(0.001)
        return [News(id=i, token=90) for i in self.running]

    def trouble(self) -> str | None:
        return self.ailment

    def close(self) -> None:
        self.running.clear()


def scripted(small: Path, act: Callable[[Order], None]) -> tuple[Scripted, ScheduledGenerator]:
    desk = Scripted(act)
    return desk, ScheduledGenerator(desk, Text(small), context=96, endings=[1])


def test_many_callers_get_what_each_would_get_alone(generator: Generator) -> None:
    alone = [
        generator.generate([prompt], max_new_tokens=20, deadline=soon())[0] for prompt in PROMPTS
    ]
    together = generator.generate(PROMPTS, max_new_tokens=20, deadline=soon())
    assert [one.tokens for one in together] == [one.tokens for one in alone]
    assert [one.prompt_tokens for one in together] == [
        generator.count_tokens(prompt) for prompt in PROMPTS
    ]
    found: dict[int, tuple[int, ...]] = {}

    def call(at: int) -> None:
        (one,) = generator.generate(
            [PROMPTS[at % 4]], max_new_tokens=20, deadline=soon(), sampling=Sampling()
        )
        found[at] = one.tokens

    threads = [threading.Thread(target=call, args=(at,)) for at in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[at] for at in range(12)] == [alone[at % 4].tokens for at in range(12)]


def test_a_stream_says_what_generate_says(generator: Generator) -> None:
    (whole,) = generator.generate(PROMPTS[:1], max_new_tokens=20, deadline=soon())
    pieces = list(generator.stream(PROMPTS[0], max_new_tokens=20, deadline=soon()))
    assert "".join(piece.text for piece in pieces) == whole.text
    assert tuple(token for piece in pieces for token in piece.tokens) == whole.tokens
    assert [piece.finish for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert pieces[-1].finish is whole.finish
    assert whole.first_token_s is not None
    assert 0 < whole.first_token_s <= whole.seconds


def test_a_stop_string_is_not_part_of_the_text(generator: Generator) -> None:
    (whole,) = generator.generate(PROMPTS[:1], max_new_tokens=20, deadline=soon())
    stop = whole.text[6:9]
    (cut,) = generator.generate(PROMPTS[:1], max_new_tokens=20, deadline=soon(), stop=[stop])
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish is Finish.STOP


def test_what_cannot_be_continued_is_refused(generator: Generator) -> None:
    with pytest.raises(InputError, match="empty"):
        generator.generate([""], max_new_tokens=5, deadline=soon())
    with pytest.raises(InputError, match="context is 96"):
        generator.generate([[5] * 200], max_new_tokens=5, deadline=soon())
    with pytest.raises(InputError, match="at least 1"):
        generator.generate(["a"], max_new_tokens=0, deadline=soon())


def test_a_deadline_cuts_the_text_short(small: Path) -> None:
    desk, generator = scripted(small, lambda _: None)
    with generator:
        begun_s = time.monotonic()
        (one,) = generator.generate(["a"], max_new_tokens=10**6, deadline=Deadline.after(0.1))
        assert one.finish is Finish.DEADLINE
        assert len(one.tokens) > 3
        assert time.monotonic() - begun_s < 1.0
        generator.generate(["a"], max_new_tokens=1, deadline=Deadline.after(0.05))
        # The one before was taken out, or the batch would fill with the dead.
        assert len(desk.running) <= 1


def test_a_stalled_desk_does_not_hold_its_callers(small: Path) -> None:
    stalled = threading.Event()
    desk, generator = scripted(small, lambda _: stalled.wait(20) and None)
    try:
        begun_s = time.monotonic()
        (one,) = generator.generate(["a"], max_new_tokens=5, deadline=Deadline.after(0.1))
        assert (one.text, one.finish) == ("", Finish.DEADLINE)
        desk.ailment = "the language model is missing answerer/1 (silent for 3.0 s)"
        with pytest.raises(EngineError, match="answerer/1"):
            generator.generate(["a"], max_new_tokens=5, deadline=Deadline.after(0.1))
        assert time.monotonic() - begun_s < 2.0
    finally:
        stalled.set()
        generator.close()


def test_an_error_reaches_who_waits_and_nobody_after(small: Path) -> None:
    failing = [True]

    def act(_order: Order) -> None:
        if failing[0]:
            raise EngineError("the language model lost answerer/1")

    _, generator = scripted(small, act)
    with generator:
        with pytest.raises(EngineError, match="answerer/1"):
            generator.generate(["a", "the"], max_new_tokens=5, deadline=soon())
        failing[0] = False
        pieces = generator.stream("a", max_new_tokens=10**6, deadline=soon())
        assert next(pieces).tokens == (90,)
        pieces.close()  # type: ignore[attr-defined]


def test_no_more_run_at_once_than_there_is_room(small: Path) -> None:
    desk, generator = scripted(small, lambda _: None)
    with generator:
        streams = [generator.stream("a", max_new_tokens=10**6, deadline=soon()) for _ in range(5)]
        for stream in streams:  # each begins once those before it were given up
            assert next(stream).finish is None
            stream.close()  # type: ignore[attr-defined]
        assert desk.most == 2


def test_closing_ends_who_waits(small: Path) -> None:
    _, generator = scripted(small, lambda _: None)
    stream = generator.stream("a", max_new_tokens=10**6, deadline=soon())
    next(stream)
    generator.close()
    with pytest.raises(EngineError, match="closed"):
        for _ in stream:
            pass
    with pytest.raises(EngineError, match="closed"):
        generator.generate(["a"], max_new_tokens=1, deadline=soon())


def test_a_folder_is_checked_when_it_is_opened(small: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        open_generator(tmp_path / "none")
    with pytest.raises(InputError, match=r"no config\.json"):
        open_generator(tmp_path)
    with pytest.raises(InputError, match="2 ranks"):
        open_generator(small, ranks=2)
    with pytest.raises(InputError, match="float32"):
        open_generator(small, dtype="int3")
