"""One shard: its files checked and opened, its vectors searched; and the same as a member of a
fleet.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sextant.axes import Axis
from sextant.errors import InputError
from sextant.fleet import Deadline, Member
from sextant.search import engine
from sextant.search.manifest import FileCard, ShardCard
from sextant.search.rows import Rows
from sextant.search.wire import Reply, Request

INDEX_FILE = "vectors.faiss"


class Shard:
    """An open shard."""

    def __init__(self, folder: Path, card: ShardCard, *, exact: bool) -> None:
        """Check every file against its checksum, then open the shard.

        Raises:
            InputError: a file is missing, torn or changed; the shard and the file are named.
        """
        verify(folder, card)
        self.card = card
        self._exact = exact
        self._index = engine.read_index(folder / INDEX_FILE)
        self._rows = Rows(folder)
        if not (self._index.ntotal == len(self._rows) == card.vectors):
            raise InputError("vectors and rows do not match", where=f"{card.name}: {folder}")

    def search(self, request: Request) -> Reply:
        """The best rows of this shard for each query.

        Raises:
            InputError: the queries are of another vector space or have other dimensions.
        """
        if request.space != self.card.space:
            raise InputError(f"queries of the space {request.space}, vectors of {self.card.space}")
        if request.queries_QD.ndim != 2 or request.queries_QD.shape[1] != self.card.dims:
            raise InputError(f"queries must have {self.card.dims} dimensions")
        scores_QK, rows_QK = engine.search(
            self._index, request.queries_QD, request.k, exact=self._exact
        )
        found_QK = rows_QK >= 0
        ordinals_QK = np.full(rows_QK.shape, -1, np.int64)
        ordinals_QK[found_QK] = self._rows.ordinals_N[rows_QK[found_QK]]
        packed = [self._rows.packed(int(row)) for row in rows_QK[found_QK]]
        return Reply(
            scores_QK=scores_QK,
            ordinals_QK=ordinals_QK,
            rows=tuple(packed) if request.with_rows else (),
        )

    def close(self) -> None:
        """Let the files go."""
        self._rows.close()


def verify(folder: Path, card: ShardCard) -> None:
    """Compare a shard's files with its card.

    Raises:
        InputError: a file is missing, of another size, or its checksum differs.
    """
    for name, expected in card.files.items():
        path = folder / name
        try:
            found = FileCard.of(path)
        except OSError as error:
            raise InputError(f"torn: {name}: {error.strerror}", where=card.name) from error
        if found.bytes != expected.bytes:
            raise InputError(
                f"torn: {name} has {found.bytes} bytes, not {expected.bytes}", where=card.name
            )
        if found.sha256 != expected.sha256:
            raise InputError(f"corrupt: {name} does not match its checksum", where=card.name)


class ShardMember(Member):
    """A shard server: `warm` checks and opens the shard, `handle` answers a `Request` with a
    `Reply`.

    Args:
        folder: the shard's folder, absolute.
        card: its `ShardCard` as plain data.
        exact: whether the index is flat.
    """

    def __init__(self, folder: str, card: Mapping[str, Any], exact: bool) -> None:
        self._folder = Path(folder)
        self._card = ShardCard.from_json(dict(card))
        self._exact = exact
        self._shard: Shard | None = None

    def warm(self) -> None:
        """Open the shard.

        Raises:
            InputError: the shard is torn or corrupt.
        """
        engine.use_one_thread()
        with self.ledger.busy(Axis.DATA):
            self._shard = Shard(self._folder, self._card, exact=self._exact)

    def handle(self, body: bytes, deadline: Deadline) -> bytes:
        """Search; scanning vectors is work of the data axis."""
        assert self._shard is not None, "warm comes before handle"
        if deadline.expired():
            raise InputError("the deadline had passed before the search")
        with self.ledger.busy(Axis.DATA):
            reply = self._shard.search(Request.unpack(body)).pack()
        self.ledger.charge(Axis.DATA, bytes=len(body) + len(reply))
        return reply
