"""One rank of a model that is spread over a gang of a fleet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sextant.axes import Axis
from sextant.decoder.meeting import Meeting, first_words
from sextant.errors import EngineError, InputError
from sextant.fleet import Deadline, Member
from sextant.fleet.messages import pack, unpack

if TYPE_CHECKING:
    from torch import Tensor

    from sextant.decoder.generate import Batch
    from sextant.decoder.model import Decoder


class RankMember(Member):
    """Holds one rank's part of the weights, and runs the batch in step with the other ranks.

    Messages: `open` makes rank 0 host a store for the ranks to meet at; `join` forms the group of
    an epoch, with an empty batch; `order` carries out one order of that epoch. An order that comes
    twice is answered as the first time.

    Args:
        folder: of the model, absolute, on this host.
        rank: which part this is.
        ranks: how many parts.
        rows: sequences that run at once.
        context: tokens of one sequence.
        dtype: number format of the weights.
        threads: threads of one rank's matrix products.
        stall_s: longest that ranks wait for one another inside an order.
    """

    def __init__(
        self,
        folder: str,
        rank: int,
        ranks: int,
        rows: int,
        context: int,
        dtype: str,
        threads: int,
        stall_s: float,
    ) -> None:
        self._folder, self._rank, self._ranks = Path(folder), rank, ranks
        self._num_rows, self._context, self._dtype = rows, context, dtype
        self._threads = threads
        self._meeting = Meeting(rank, ranks, stall_s)
        self._model: Decoder | None = None
        self._batch: Batch | None = None
        self._epoch = self._number = 0
        self._said = b""

    def warm(self) -> None:
        """Reads this rank's part of the weights.

        Raises:
            InputError: the folder holds no model that this decoder can run.
        """
        import torch

        from sextant.decoder.engine import read_model

        self._meeting.host = self.card.host
        torch.set_num_threads(self._threads)
        with self.ledger.busy(Axis.INFERENCE):
            self._model = read_model(
                self._folder,
                rank=self._rank,
                ranks=self._ranks,
                context=self._context,
                dtype=self._dtype,
            )

    def handle(self, body: bytes, deadline: Deadline) -> bytes:  # noqa: ARG002
        """Carries out one message.

        Raises:
            EngineError: another rank is gone or stalled, or the message is of another epoch.
        """
        message = unpack(body)
        match message["do"]:
            case "open":
                return pack(self._meeting.open())
            case "join":
                self._join(message)
                return pack({})
            case "order":
                return self._order(message)
        raise InputError(f"no such message: {message['do']!r}")

    def _join(self, message: dict[str, Any]) -> None:
        from sextant.decoder.generate import Batch

        assert self._model is not None, "warm comes before handle"
        self._batch = None
        self._meeting.join(message["epoch"], message["host"], message["port"])
        self._epoch, self._number = message["epoch"], 0
        self._batch = Batch(self._model, self._num_rows, self._agree)

    def _agree(self, chosen: Tensor) -> Tensor:
        """All ranks go on with what rank 0 chose, should a rounding ever have parted them."""
        import torch.distributed as dist

        dist.broadcast(chosen, 0)
        return chosen

    def _order(self, message: dict[str, Any]) -> bytes:
        from sextant.decoder.desks import carry_out, unpacked
        from sextant.decoder.scheduler import Order

        if message["epoch"] != self._epoch or self._batch is None:
            raise EngineError(f"epoch {message['epoch']}, but this rank is in {self._epoch}")
        if message["number"] == self._number:
            return self._said
        order = Order(admit=unpacked(message["admit"]), drop=tuple(message["drop"]))
        try:
            with self.ledger.busy(Axis.INFERENCE):
                news = carry_out(self._batch, order, steps=message["steps"])
        except RuntimeError as error:
            # Half an order was carried out: this group's batch cannot be trusted any more.
            self._batch = None
            raise EngineError(f"a rank is gone or stalled: {first_words(error)}") from None
        self._number = message["number"]
        told = [(one.id, one.token, one.finish) for one in news] if self._rank == 0 else []
        self._said = pack({"news": told})
        return self._said
