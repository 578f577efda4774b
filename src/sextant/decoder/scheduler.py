"""Continuous batching: requests of any threads join and leave one running batch.

One thread gives orders to a desk (a model in this process, or a gang of ranks); each caller waits
on a queue of its own, no longer than its own deadline, whatever the desk does.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sextant.decoder.generate import News, Request, check_prompt
from sextant.decoder.generator import (
    GREEDY,
    Finish,
    Generation,
    Generator,
    Piece,
    Sampling,
)
from sextant.decoder.text import Spelling, Text
from sextant.errors import EngineError, InputError, SextantError
from sextant.fleet.deadline import Deadline

_MOST_WAITING = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What a desk is to do next: drop sequences, admit others, then add a token to all."""

    admit: tuple[Request, ...] = ()
    drop: tuple[int, ...] = ()


class Desk(ABC):
    """Where the model works."""

    rows: int
    """Sequences that it runs at once."""

    @abstractmethod
    def obey(self, order: Order) -> list[News]:
        """Carries out one order, from one thread at a time.

        Returns:
            At least one new token of each running sequence, in order.

        Raises:
            EngineError: it failed, and every running sequence is lost.
        """

    @abstractmethod
    def trouble(self) -> str | None:
        """What ails it now, if something does."""

    @abstractmethod
    def close(self) -> None:
        """Ends it."""


@dataclass(slots=True, eq=False)
class _Job:
    request: Request
    deadline: Deadline
    news: queue.SimpleQueue[News | SextantError] = field(default_factory=queue.SimpleQueue)
    abandoned: bool = False


class ScheduledGenerator(Generator):
    """A generator over a desk; owns the thread that gives the orders."""

    def __init__(self, desk: Desk, text: Text, *, context: int, endings: Sequence[int]) -> None:
        self.context = context
        self._desk, self._text, self._endings = desk, text, tuple(endings)
        self._ids = itertools.count()
        self._waiting: deque[_Job] = deque()
        self._running: dict[int, _Job] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="decoder", daemon=True)
        self._thread.start()

    def count_tokens(self, text: str) -> int:
        """How many tokens a text takes in a prompt, special tokens left out."""
        return self._text.count(text)

    def chat(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The prompt of a conversation by the model's own chat template."""
        return self._text.chat(messages)

    def stream(
        self,
        prompt: str | Sequence[int],
        *,
        max_new_tokens: int,
        deadline: Deadline,
        sampling: Sampling = GREEDY,
        stop: Sequence[str] = (),
    ) -> Iterator[Piece]:
        """Writes on after one prompt, piece by piece; the last piece says why it ended."""
        job = self._submit(prompt, max_new_tokens, deadline, sampling)
        return self._pieces(job, stop)

    def generate(
        self,
        prompts: Sequence[str | Sequence[int]],
        *,
        max_new_tokens: int,
        deadline: Deadline,
        sampling: Sampling = GREEDY,
        stop: Sequence[str] = (),
    ) -> list[Generation]:
        """Writes on after each prompt, all at once."""
        begun_s = time.monotonic()
        jobs: list[_Job] = []
        try:
            for prompt in prompts:
                jobs.append(self._submit(prompt, max_new_tokens, deadline, sampling))
            return [self._whole(job, stop, begun_s) for job in jobs]
        except BaseException:
            for job in jobs:
                self._abandon(job)
            raise

    def close(self) -> None:
        """Ends the thread and the desk; who still waits gets an error."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        self._desk.close()
        self._thread.join(timeout=5.0)
        self._fail_all(EngineError("the language model was closed"))

    def _submit(
        self,
        prompt: str | Sequence[int],
        max_new_tokens: int,
        deadline: Deadline,
        sampling: Sampling,
    ) -> _Job:
        tokens = self._text.encode(prompt) if isinstance(prompt, str) else list(prompt)
        check_prompt(tokens, self.context)
        if max_new_tokens < 1:
            raise InputError(f"at least 1, not {max_new_tokens}", where="max_new_tokens")
        request = Request(
            id=next(self._ids),
            tokens=tokens,
            max_new_tokens=max_new_tokens,
            endings=self._endings,
            sampling=sampling,
        )
        job = _Job(request, deadline)
        with self._changed:
            if self._closed:
                raise EngineError("the language model was closed")
            if len(self._waiting) >= _MOST_WAITING:
                raise EngineError(f"{_MOST_WAITING} prompts wait for the language model already")
            self._waiting.append(job)
            self._changed.notify()
        return job

    def _abandon(self, job: _Job) -> None:
        with self._changed:
            job.abandoned = True
            self._changed.notify()

    def _pieces(self, job: _Job, stop: Sequence[str]) -> Iterator[Piece]:
        spelling = Spelling(self._text, stop)
        try:
            finish: Finish | None = None
            while finish is None:
                news = self._next(job)
                if news is None:
                    yield Piece(text=spelling.rest(), tokens=(), finish=Finish.DEADLINE)
                    return
                finish = news.finish
                text = "" if finish is Finish.EOS else spelling.add(news.token)
                if spelling.stopped:
                    finish = Finish.STOP
                if finish is not None:
                    text += spelling.rest()
                yield Piece(text=text, tokens=(news.token,), finish=finish)
        finally:
            self._abandon(job)

    def _next(self, job: _Job) -> News | None:
        """The next token; None at the deadline.

        Raises:
            EngineError: there will be none.
        """
        try:
            news = job.news.get(timeout=max(0.0, job.deadline.left_s()))
        except queue.Empty:
            trouble = self._desk.trouble()
            if trouble is not None:
                raise EngineError(trouble, hint="it is being started again") from None
            return None
        if isinstance(news, SextantError):
            raise news
        return news

    def _whole(self, job: _Job, stop: Sequence[str], begun_s: float) -> Generation:
        text: list[str] = []
        tokens: list[int] = []
        first_s, finish = None, Finish.DEADLINE
        for piece in self._pieces(job, stop):
            if piece.tokens and first_s is None:
                first_s = time.monotonic() - begun_s
            text.append(piece.text)
            tokens.extend(piece.tokens)
            finish = piece.finish or finish
        return Generation(
            text="".join(text),
            tokens=tuple(tokens),
            prompt_tokens=len(job.request.tokens),
            finish=finish,
            first_token_s=first_s,
            seconds=time.monotonic() - begun_s,
        )

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._waiting or self._running)
                if self._closed:
                    return
                order = self._next_order()
            if order is None:
                continue
            try:
                told = self._desk.obey(order)
            except SextantError as error:
                self._fail_all(error)
            except Exception as error:  # noqa: BLE001  whatever an engine raises, callers must hear
                self._fail_all(EngineError(f"the language model: {type(error).__name__}: {error}"))
            else:
                self._tell(told)

    def _next_order(self) -> Order | None:
        """What to do next; None if nothing is left to be done."""
        gone = [i for i, job in self._running.items() if job.abandoned or job.deadline.expired()]
        for i in gone:
            del self._running[i]
        admitted: list[Request] = []
        while self._waiting and len(self._running) < self._desk.rows:
            job = self._waiting.popleft()
            if not job.abandoned and not job.deadline.expired():
                self._running[job.request.id] = job
                admitted.append(job.request)
        if not self._running and not gone:
            return None
        return Order(admit=tuple(admitted), drop=tuple(gone))

    def _tell(self, told: Sequence[News]) -> None:
        with self._changed:
            for news in told:
                job = self._running.get(news.id)
                if job is None:
                    continue
                job.news.put(news)
                if news.finish is not None:
                    del self._running[news.id]

    def _fail_all(self, error: SextantError) -> None:
        with self._changed:
            for job in (*self._running.values(), *self._waiting):
                job.news.put(error)
            self._running.clear()
            self._waiting.clear()
