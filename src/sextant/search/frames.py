"""The frames of the vector door: a length, a kind, and little-endian numbers, nothing that runs.

Every frame is `<u32 length><u8 kind>` and `length - 1` bytes:

- HELLO, from a client, first: `<u16 version>` and the token's UTF-8.
- WELCOME, the answer: MessagePack `{"dims", "space", "vectors"}`.
- QUERY: `<u32 id><u16 k><f64 deadline>` and D float32. The deadline is in seconds since the epoch.
- HITS: `<u32 id><f32 coverage><u16 n>`, n int64 ordinals and n float32 scores, best first.
- REFUSED: `<u32 id>` and why, in UTF-8. After one with id 0 the door closes the connection.

Shape suffixes: Q queries, D dimensions, K hits a query.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from sextant.search.wire import Floats, Ordinals

VERSION = 1
HELLO, WELCOME, QUERY, HITS, REFUSED = 1, 129, 2, 130, 131
HEAD = struct.Struct("<IB")
_HELLO = struct.Struct("<IBH")
QUERY_HEAD = struct.Struct("<IBIHd")
HITS_HEAD = struct.Struct("<IBIfH")
_REFUSED = struct.Struct("<IBI")
_LENGTH = 4


def hello(token: str) -> bytes:
    """The frame that opens a connection."""
    said = token.encode()
    return _HELLO.pack(_HELLO.size - _LENGTH + len(said), HELLO, VERSION) + said


def query_frame(number: int, vector: bytes, k: int, deadline_s: float) -> bytes:
    """The frame of one query; `vector` is D float32."""
    length = QUERY_HEAD.size - _LENGTH + len(vector)
    return QUERY_HEAD.pack(length, QUERY, number, k, deadline_s) + vector


def refused(number: int, why: str) -> bytes:
    """The frame that says why a query, or with number 0 a connection, is refused."""
    said = why.encode("utf-8", "replace")[:1000]
    return _REFUSED.pack(_REFUSED.size - _LENGTH + len(said), REFUSED, number) + said


def frame(kind: int, body: bytes) -> bytes:
    """Any frame."""
    return HEAD.pack(1 + len(body), kind) + body


def hits_frames(
    numbers: Sequence[int], scores_QK: Floats, ordinals_QK: Ordinals, coverage: float
) -> list[bytes]:
    """The answers to a batch, a frame a query; fillers are left out."""
    num_hits = ordinals_QK.shape[1]
    kept_Q = np.count_nonzero(ordinals_QK >= 0, axis=1)
    rows = _hits_rows(numbers, scores_QK, ordinals_QK, coverage)
    if (kept_Q == num_hits).all():
        whole, size = rows.tobytes(), rows.dtype.itemsize
        return [whole[start : start + size] for start in range(0, len(whole), size)]
    return [
        hits_frames([number], scores_K[None, :kept], ordinals_K[None, :kept], coverage)[0]
        for number, scores_K, ordinals_K, kept in zip(
            numbers, scores_QK, ordinals_QK, kept_Q.tolist(), strict=True
        )
    ]


def _hits_rows(
    numbers: Sequence[int], scores_QK: Floats, ordinals_QK: Ordinals, coverage: float
) -> np.ndarray[Any, Any]:
    """The frames as rows of one table."""
    num_hits = ordinals_QK.shape[1]
    kind = np.dtype(
        [
            ("length", "<u4"),
            ("kind", "u1"),
            ("number", "<u4"),
            ("coverage", "<f4"),
            ("hits", "<u2"),
            ("ordinals", "<i8", (num_hits,)),
            ("scores", "<f4", (num_hits,)),
        ]
    )
    rows = np.empty(len(numbers), kind)
    rows["length"], rows["kind"] = kind.itemsize - _LENGTH, HITS
    rows["number"], rows["coverage"], rows["hits"] = numbers, coverage, num_hits
    rows["ordinals"], rows["scores"] = ordinals_QK, scores_QK
    return rows
