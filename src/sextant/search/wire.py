"""The two messages between a searcher and a shard: a MessagePack header with raw little-endian
arrays.

Shape suffixes: Q queries in a message, D dimensions, K hits a query (fewer where a shard holds
fewer).
"""

from __future__ import annotations

from dataclasses import dataclass

import msgpack
import numpy as np
import numpy.typing as npt

from sextant.errors import InputError

Floats = npt.NDArray[np.float32]
Ordinals = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """Q queries for the K best rows of a shard each; `with_rows` asks for the rows too."""

    space: str
    queries_QD: Floats
    k: int
    with_rows: bool = True

    def pack(self) -> bytes:
        """The message."""
        return bytes(
            msgpack.packb(
                {
                    "space": self.space,
                    "shape": self.queries_QD.shape,
                    "k": self.k,
                    "with_rows": self.with_rows,
                    "queries": np.ascontiguousarray(self.queries_QD, dtype="<f4").tobytes(),
                }
            )
        )

    @classmethod
    def unpack(cls, body: bytes) -> Request:
        """The request in a message.

        Raises:
            InputError: the message is not a request.
        """
        try:
            value = msgpack.unpackb(body)
            queries_QD = np.frombuffer(value["queries"], dtype="<f4").reshape(value["shape"])
            return cls(
                space=value["space"],
                queries_QD=queries_QD,
                k=value["k"],
                with_rows=value["with_rows"],
            )
        except (ValueError, KeyError, TypeError, msgpack.UnpackException) as error:
            raise InputError(f"not a search request: {error}") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """A shard's best rows, best first; ordinal -1 fills where there are fewer than K.

    `rows` holds the packed rows of the hits in the order of the array (fillers left out), or
    nothing.
    """

    scores_QK: Floats
    ordinals_QK: Ordinals
    rows: tuple[bytes, ...] = ()

    def pack(self) -> bytes:
        """The message."""
        return bytes(
            msgpack.packb(
                {
                    "shape": self.scores_QK.shape,
                    "scores": np.ascontiguousarray(self.scores_QK, dtype="<f4").tobytes(),
                    "ordinals": np.ascontiguousarray(self.ordinals_QK, dtype="<i8").tobytes(),
                    "rows": self.rows,
                }
            )
        )

    @classmethod
    def unpack(cls, body: bytes) -> Reply:
        """The reply in a message."""
        value = msgpack.unpackb(body)
        return cls(
            scores_QK=np.frombuffer(value["scores"], dtype="<f4").reshape(value["shape"]),
            ordinals_QK=np.frombuffer(value["ordinals"], dtype="<i8").reshape(value["shape"]),
            rows=tuple(value["rows"]),
        )
