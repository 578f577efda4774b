"""Texts that come together are encoded together, and each caller gets its own vectors."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from served import until

from sextant.systems.rag.serve.gather import SharedEmbedder


class Slow:
    """Encodes a text to its length, one pass after the other, when it is let."""

    dims = 2
    number_format = "float32"
    folder: Any = SimpleNamespace(fingerprint="f" * 32)

    def __init__(self) -> None:
        self.passes: list[list[str]] = []
        self.go = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.inside = 0
        self.error: Exception | None = None

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.inside += 1
        assert self.inside == 1, "two threads in one model"
        self.passes.append(list(texts))
        self.begun.release()
        assert self.go.acquire(timeout=20)
        self.inside -= 1
        if self.error is not None:
            raise self.error
        return np.array([[len(text), 0] for text in texts], np.float32)


def test_who_comes_during_a_pass_goes_together_in_the_next() -> None:
    slow = Slow()
    shared = SharedEmbedder(slow)
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(shared.encode, ["a"])
        assert slow.begun.acquire(timeout=20)
        others = [pool.submit(shared.encode, ["b" * n]) for n in (2, 3, 4, 5)]
        until(lambda: len(shared._waiting) == 5)
        slow.go.release(2)
        assert first.result(20).tolist() == [[1, 0]]
        assert [other.result(20).tolist() for other in others] == [[[n, 0]] for n in (2, 3, 4, 5)]
    assert slow.passes[0] == ["a"]
    assert sorted(slow.passes[1]) == ["b" * n for n in (2, 3, 4, 5)]
    assert len(slow.passes) == 2


def test_a_long_answer_does_not_hold_a_question_up() -> None:
    slow = Slow()
    shared = SharedEmbedder(slow, most_each=8)
    sentences = ["s" * n for n in range(1, 25)]
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(shared.encode, sentences)
        assert slow.begun.acquire(timeout=20)
        question = pool.submit(shared.encode, ["question"])
        until(lambda: len(shared._waiting) == 2)
        slow.go.release(2)
        assert question.result(20).tolist() == [[8, 0]]
        assert not answer.done()
        slow.go.release(2)
        assert answer.result(20)[:, 0].tolist() == list(range(1, 25))
    assert [len(texts) for texts in slow.passes] == [8, 9, 8]


def test_an_error_reaches_each_caller_and_the_next_pass_goes_on() -> None:
    slow = Slow()
    shared = SharedEmbedder(slow)
    slow.error = ValueError("no such word")
    slow.go.release(9)
    for _ in range(2):
        with pytest.raises(ValueError, match="no such word"):
            shared.encode(["a", "b"])
    slow.error = None
    assert shared.encode(["abc"]).tolist() == [[3, 0]]
    assert shared._waiting == []


def test_it_is_the_embedder_that_it_stands_for() -> None:
    slow = Slow()
    shared = SharedEmbedder(slow)
    assert (shared.dims, shared.number_format, shared.folder) == (2, "float32", slow.folder)
    assert shared.encode([]).shape == (0, 2)
