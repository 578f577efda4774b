"""What a language model is to who asks it: prompts in, text out, by a deadline.

The one seam between the decoder and what stands on it. Nothing here needs torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from sextant.errors import InputError
from sextant.fleet.deadline import Deadline


class Finish(StrEnum):
    """Why a generation ended."""

    EOS = "eos"
    """The model said that it is done."""
    STOP = "stop"
    """One of the caller's stop strings came; it is not part of the text."""
    LENGTH = "length"
    """It reached `max_new_tokens`, or the end of the model's context."""
    DEADLINE = "deadline"
    """Its time was up; the text is what had come by then, and may be empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How the next token is drawn.

    Attributes:
        temperature: 0 takes the likeliest token (greedy); above, logits are divided by it.
        top_k: draws among that many likeliest tokens only.
        top_p: draws among the likeliest tokens that together have this probability.
        seed: with the same seed, prompt and model the same text comes, whatever else runs beside.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature < float("inf"):
            raise InputError(f"a temperature of 0 or more, not {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise InputError(f"top_k of at least 1, not {self.top_k}")
        if self.top_p is not None and not 0.0 < self.top_p <= 1.0:
            raise InputError(f"top_p in (0, 1], not {self.top_p}")


GREEDY = Sampling()


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """What a stream brings next: some text, and at the end why it ended."""

    text: str
    tokens: tuple[int, ...]
    finish: Finish | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Generation:
    """What the model wrote after one prompt.

    Attributes:
        text: without the prompt, special tokens and the stop string.
        tokens: the ids behind it, an ending token included.
        prompt_tokens: how many tokens the prompt took.
        finish: why it ended.
        first_token_s: from the call to the first token; None if none came.
        seconds: from the call to the end.
    """

    text: str
    tokens: tuple[int, ...]
    prompt_tokens: int
    finish: Finish
    first_token_s: float | None
    seconds: float


class Generator(ABC):
    """A language model that writes on. Made by `sextant.decoder.open_generator`.

    Any number of threads may call it at once: their prompts are decoded together, each joining
    and leaving the running batch on its own. A context manager; `close` ends what it started.

    Attributes:
        context: tokens that a prompt and what follows it may take together.
    """

    context: int

    @abstractmethod
    def count_tokens(self, text: str) -> int:
        """How many tokens a text takes in a prompt, special tokens left out."""

    @abstractmethod
    def chat(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The prompt of a conversation by the model's own chat template.

        Args:
            messages: `{"role": "system" | "user" | "assistant", "content": text}` in order.

        Returns:
            The prompt, up to where the assistant begins to speak. A model without a template gets
            the contents with a blank line between.

        Raises:
            InputError: the template refuses these messages.
        """

    @abstractmethod
    def stream(
        self,
        prompt: str | Sequence[int],
        *,
        max_new_tokens: int,
        deadline: Deadline,
        sampling: Sampling = GREEDY,
        stop: Sequence[str] = (),
    ) -> Iterator[Piece]:
        """Writes on after one prompt, piece by piece; the last piece says why it ended.

        The request is taken in when this is called, before the first piece is asked for. Giving
        the iterator up (`close`) takes the request out of the running batch.

        Args:
            prompt: text, or token ids. Text gets the special tokens that the tokenizer adds.
            max_new_tokens: at most so many tokens.
            deadline: what has come by then is all that comes.
            sampling: how tokens are drawn.
            stop: strings at which the text ends.

        Raises:
            InputError: the prompt is empty, or leaves no room in the model's context.
            EngineError: a rank of the model is gone or stalled. The message names it; it is
                started again by itself, and a later call finds it.
        """

    @abstractmethod
    def generate(
        self,
        prompts: Sequence[str | Sequence[int]],
        *,
        max_new_tokens: int,
        deadline: Deadline,
        sampling: Sampling = GREEDY,
        stop: Sequence[str] = (),
    ) -> list[Generation]:
        """Writes on after each prompt, all at once; as `stream`, and raises the same.

        Returns:
            One generation a prompt, in the order of the prompts, no later than the deadline.
        """

    @abstractmethod
    def close(self) -> None:
        """Ends what it started; a second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
