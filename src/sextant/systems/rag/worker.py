"""A worker that embeds blocks: a member of a gang, one of many, and any of them will do."""

from __future__ import annotations

import msgpack

from sextant.axes import Axis
from sextant.errors import InputError
from sextant.fleet import Deadline, Member
from sextant.systems.rag.embed import Embedder, Format, open_embedder


class EmbedMember(Member):
    """Makes the vectors of texts: a MessagePack list in, little-endian float32 out.

    Args:
        model: the model's folder or name, as `open_embedder` takes it.
        space: the fingerprint that it must have.
        number_format: what to compute in, whatever this processor does best.
        num_threads: threads of this worker.
        num_shares: into how many parts the asker's own process would divide a block; dividing it
            alike gives the same vectors to the bit.
    """

    def __init__(
        self,
        model: str | None,
        space: str,
        number_format: Format,
        num_threads: int,
        num_shares: int,
    ) -> None:
        self._model = model
        self._space = space
        self._format: Format = number_format
        self._threads = num_threads
        self._shares = num_shares
        self._embedder: Embedder | None = None

    def warm(self) -> None:
        """Read the weights.

        Raises:
            InputError: the model is not here, or another one is.
        """
        embedder = open_embedder(
            self._model,
            number_format=self._format,
            num_threads=self._threads,
            num_shares=self._shares,
        )
        if embedder.folder.fingerprint != self._space:
            raise InputError("another model than the asker's", where=str(embedder.folder.path))
        with self.ledger.busy(Axis.INFERENCE):
            embedder.encode(["A few words to begin with."])
        self._embedder = embedder

    def handle(self, body: bytes, deadline: Deadline) -> bytes:  # noqa: ARG002
        """Embed; the work is wanted however long it takes, so the deadline is the asker's."""
        assert self._embedder is not None, "warm comes before handle"
        with self.ledger.busy(Axis.INFERENCE):
            vectors_ND = self._embedder.encode(msgpack.unpackb(body))
        return vectors_ND.astype("<f4").tobytes()
