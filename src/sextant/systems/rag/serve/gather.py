"""Texts of questions that come at the same time are encoded together.

One forward pass of a model over eight questions takes far less than eight passes, and passes side
by side would only fight for the cores. Whoever comes while nobody encodes does so at once; whoever
comes meanwhile waits, and one of them takes all who wait along in the next pass. So a lone
question waits for nobody, and the batches grow by themselves with the load.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sextant.systems.rag.embed import Embedder, Floats, Format
from sextant.systems.rag.model import ModelFolder

_LOOK_AGAIN_S = 1.0


@dataclass(eq=False, slots=True)
class _Order:
    """The texts of one caller, and what has become of them so far."""

    texts: Sequence[str]
    parts: list[Floats] = field(default_factory=list)
    num_done: int = 0
    error: BaseException | None = None

    @property
    def done(self) -> bool:
        return self.num_done == len(self.texts) or self.error is not None


class SharedEmbedder:
    """An `Embedder` for many threads over one that is used by one thread at a time.

    Args:
        embedder: makes the vectors.
        most_texts: texts in one pass.
        most_each: texts of one caller in one pass: the sentences of a long answer must not hold up
            a question.
    """

    def __init__(self, embedder: Embedder, most_texts: int = 64, most_each: int = 8) -> None:
        self._embedder = embedder
        self._most_texts = most_texts
        self._most_each = most_each
        self._turn = threading.Condition()
        self._waiting: list[_Order] = []
        self._encoding = False

    @property
    def folder(self) -> ModelFolder:
        """See `Embedder`."""
        return self._embedder.folder

    @property
    def number_format(self) -> Format:
        """See `Embedder`."""
        return self._embedder.number_format

    @property
    def dims(self) -> int:
        """See `Embedder`."""
        return self._embedder.dims

    def encode(self, texts: Sequence[str]) -> Floats:
        """See `Embedder`; may be called from any thread."""
        order = _Order(texts)
        with self._turn:
            self._waiting.append(order)
            while not order.done:
                if self._encoding:
                    self._turn.wait(_LOOK_AGAIN_S)
                else:
                    self._lead()
            self._waiting = [one for one in self._waiting if one is not order]
        if order.error is not None:
            raise order.error
        return np.concatenate(order.parts) if texts else np.empty((0, self.dims), np.float32)

    def _lead(self) -> None:
        """Encode for those who wait longest, letting go of the lock meanwhile."""
        batch: list[tuple[_Order, Sequence[str]]] = []
        room = self._most_texts
        for order in self._waiting:
            if not order.done and room > 0:
                num_texts = min(room, self._most_each)
                batch.append((order, order.texts[order.num_done : order.num_done + num_texts]))
                room -= len(batch[-1][1])
        self._encoding = True
        self._turn.release()
        try:
            self._encode(batch)
        finally:
            self._turn.acquire()
            self._encoding = False
            self._turn.notify_all()

    def _encode(self, batch: Sequence[tuple[_Order, Sequence[str]]]) -> None:
        try:
            vectors_ND = self._embedder.encode([text for _, texts in batch for text in texts])
        except BaseException as error:  # noqa: BLE001 - each caller must hear of it, and nobody hang
            for order, _ in batch:
                order.error = error
            return
        ends = np.cumsum([len(texts) for _, texts in batch])[:-1]
        for (order, texts), part_ND in zip(batch, np.split(vectors_ND, ends), strict=True):
            order.parts.append(part_ND)
            order.num_done += len(texts)
