"""Decodes many sequences at once; each joins and leaves the running batch on its own.

Prefill reads whole prompts in one pass; decoding then adds a token to every sequence a step. Both
are driven from outside (`admit`, `step`, `drop`), so that several ranks can be driven alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sextant.decoder.cache import Decode, KeyValues, Prefill
from sextant.decoder.generator import GREEDY, Finish, Sampling
from sextant.decoder.model import Decoder
from sextant.decoder.sampling import Draw, next_tokens
from sextant.errors import InputError

_PREFILL_TOKENS = 8192
"""Positions that one pass of prefill may have, padding included; bounds its memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One sequence to be continued.

    Attributes:
        id: what the caller knows it by.
        tokens: the prompt.
        max_new_tokens: at most so many more.
        endings: tokens after which it ends.
        sampling: how tokens are drawn.
    """

    id: int
    tokens: Sequence[int]
    max_new_tokens: int
    endings: Sequence[int] = ()
    sampling: Sampling = GREEDY


@dataclass(frozen=True, kw_only=True, slots=True)
class News:
    """One new token of one sequence, and whether it was the last."""

    id: int
    token: int
    finish: Finish | None = None


@dataclass(slots=True)
class _Row:
    request: Request
    draw: Draw
    last: int = 0
    length: int = 0
    """Positions in the cache; `last` is not among them yet."""
    new: int = field(default=0)


def _alone(tokens_B: Tensor) -> Tensor:
    return tokens_B


class Batch:
    """A running batch.

    Args:
        model: in evaluation mode, its `config.kv_heads` being what this rank has.
        rows: how many sequences may run at once.
        agree: given the tokens that this rank chose, gives those that all ranks go on with.
    """

    def __init__(
        self, model: Decoder, rows: int, agree: Callable[[Tensor], Tensor] = _alone
    ) -> None:
        weight = next(model.parameters())
        self._model, self._agree = model, agree
        self._device = weight.device
        self._cache = KeyValues(model.config, rows, dtype=weight.dtype, device=weight.device)
        self._num_rows = rows
        self._rows: list[_Row] = []

    def __len__(self) -> int:
        """Sequences that run."""
        return len(self._rows)

    @property
    def room(self) -> int:
        """Sequences that can still join."""
        return self._num_rows - len(self._rows)

    def admit(self, requests: Sequence[Request]) -> list[News]:
        """Reads prompts; gives the first new token of each.

        Raises:
            InputError: there is no room for so many, or a prompt is empty or too long.
        """
        if len(requests) > self.room:
            raise InputError(f"{len(requests)} sequences, but room for {self.room}")
        for request in requests:
            check_prompt(request.tokens, self._model.config.context)
        news = []
        for group in _groups(requests):
            news += self._prefill(group)
        return news

    @torch.inference_mode()
    def step(self) -> list[News]:
        """Adds a token to every running sequence."""
        if not self._rows:
            return []
        last_B1 = torch.tensor([[row.last] for row in self._rows], device=self._device)
        length_B = torch.tensor([row.length for row in self._rows], device=self._device)
        memory = Decode(self._cache, length_B)
        logits_BV = self._model(last_B1, memory, torch.zeros_like(length_B))
        for row in self._rows:
            row.length += 1
        return self._choose(self._rows, logits_BV)

    def drop(self, ids: Iterable[int]) -> None:
        """Takes sequences out; unknown ones are gone already."""
        gone = set(ids)
        at = 0
        while at < len(self._rows):
            if self._rows[at].request.id not in gone:
                at += 1
                continue
            last = self._rows.pop()
            if at < len(self._rows):
                self._cache.move(len(self._rows), at, last.length)
                self._rows[at] = last

    @torch.inference_mode()
    def _prefill(self, requests: Sequence[Request]) -> list[News]:
        rows = [_Row(request, Draw(request.sampling)) for request in requests]
        longest = max(len(request.tokens) for request in requests)
        # Padding stands on the right, where no token of the prompt looks; its value is nothing.
        padded = [[*request.tokens, *[0] * (longest - len(request.tokens))] for request in requests]
        tokens_BS = torch.tensor(padded, device=self._device)
        end_B = torch.tensor([len(r.tokens) - 1 for r in requests], device=self._device)
        memory = Prefill(self._cache, len(self._rows))
        logits_BV = self._model(tokens_BS, memory, end_B)
        self._rows += rows
        for row in rows:
            row.length = len(row.request.tokens)
        return self._choose(rows, logits_BV)

    def _choose(self, rows: Sequence[_Row], logits_BV: Tensor) -> list[News]:
        chosen = self._agree(next_tokens(logits_BV, [row.draw for row in rows]))
        news = []
        for row, token in zip(rows, chosen.tolist(), strict=True):
            row.last, row.new = token, row.new + 1
            request = row.request
            finish = None
            if token in request.endings:
                finish = Finish.EOS
            elif row.new >= request.max_new_tokens or row.length >= self._model.config.context:
                finish = Finish.LENGTH
            news.append(News(id=request.id, token=token, finish=finish))
        self.drop([told.id for told in news if told.finish])
        return news


def check_prompt(tokens: Sequence[int], context: int) -> None:
    """Whether a prompt can be continued.

    Raises:
        InputError: it is empty, or fills the model's context.
    """
    if not tokens:
        raise InputError("the prompt is empty", where="prompt")
    if len(tokens) >= context:
        what = f"a prompt of {len(tokens)} tokens; the model's context is {context}"
        raise InputError(what, where="prompt", hint="a shorter prompt, or fewer passages in it")


def generate(
    model: Decoder,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    endings: Sequence[int] = (),
    sampling: Sampling = GREEDY,
    rows: int = 32,
    agree: Callable[[Tensor], Tensor] = _alone,
    told: Callable[[News], None] | None = None,
) -> list[list[int]]:
    """Continues every prompt to its end; prompt `i` draws with seed `sampling.seed + i`.

    Args:
        model: as `Batch` takes it.
        prompts: token ids, of any lengths.
        max_new_tokens: at most so many tokens each.
        endings: tokens after which a sequence ends; they are part of the result.
        sampling: how tokens are drawn.
        rows: how many are decoded at once.
        agree: as `Batch` takes it.
        told: called with each new token as it comes; a prompt's id is its place.

    Returns:
        The new tokens of each prompt.

    Raises:
        InputError: a prompt is empty or fills the context.
    """
    waiting = [
        Request(
            id=i,
            tokens=tokens,
            max_new_tokens=max_new_tokens,
            endings=endings,
            sampling=_with_seed(sampling, sampling.seed + i),
        )
        for i, tokens in enumerate(prompts)
    ]
    for request in waiting:
        check_prompt(request.tokens, model.config.context)
    batch = Batch(model, min(rows, max(1, len(waiting))), agree)
    written: list[list[int]] = [[] for _ in waiting]
    while waiting or len(batch):
        joining, waiting = waiting[: batch.room], waiting[batch.room :]
        for news in [*batch.admit(joining), *batch.step()]:
            written[news.id].append(news.token)
            if told is not None:
                told(news)
    return written


def _with_seed(sampling: Sampling, seed: int) -> Sampling:
    return Sampling(
        temperature=sampling.temperature, top_k=sampling.top_k, top_p=sampling.top_p, seed=seed
    )


def unpadded(tokens: Sequence[Sequence[int]], mask: Sequence[Sequence[int]]) -> list[list[int]]:
    """Prompts out of a padded table, whichever side the padding is on.

    Args:
        tokens: rows of one length.
        mask: 1 where a token is the prompt's, 0 where it is padding.

    Raises:
        InputError: the tables do not match, or there is padding inside a prompt.
    """
    prompts = []
    for row, shown in zip(tokens, mask, strict=True):
        kept = [at for at, real in enumerate(shown) if real]
        if len(row) != len(shown) or (kept and kept[-1] - kept[0] + 1 != len(kept)):
            raise InputError("padding stands before or behind a prompt, not in it", where="mask")
        prompts.append([row[at] for at in kept])
    return prompts


def _groups(requests: Sequence[Request]) -> list[list[Request]]:
    """Prompts of like length together, so that little is padded, none too many at once."""
    groups: list[list[Request]] = []
    for request in sorted(requests, key=lambda r: len(r.tokens)):
        # Sorted by length: the newcomer is the longest, and all are padded to it.
        if groups and (len(groups[-1]) + 1) * len(request.tokens) <= _PREFILL_TOKENS:
            groups[-1].append(request)
        else:
            groups.append([request])
    return groups
