"""The two messages between a searcher and a shard: a MessagePack header with raw little-endian
arrays.

A shard believes nothing that a message says: every part is checked as it is unpacked, and bounded.
A request that does not say who asks is a stranger's, who sees what everybody may read; one who may
see all must say so.

Shape suffixes: Q queries in a message, D dimensions, K hits a query (fewer where a shard holds
fewer).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt

from sextant.search.analysis import LONGEST_TERM
from sextant.search.checked import Checked, checked_items, checked_text, checked_weight, unpacked
from sextant.search.filters import MOST_TEXT, Filter, parse_filter

Floats = npt.NDArray[np.float32]
Ordinals = npt.NDArray[np.int64]
Words = tuple[tuple[str, float], ...]
"""A question's terms, each with what it weighs in the whole index."""

MOST_QUERIES = 1 << 16
MOST_WORDS = 256
MOST_GROUPS = 1024
MOST_NAME_CHARS = 1000
"""Bounds on one request: its queries, a query's terms, the caller's groups and their names."""


class Mode(StrEnum):
    """By what rows are found: their vectors, their words, or both."""

    DENSE = "dense"
    LEXICAL = "lexical"
    HYBRID = "hybrid"


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """Q queries, which all want the same, for the best rows of a shard.

    Attributes:
        space: the vector space of the queries.
        queries_QD: their vectors; D is 0 where only words are searched.
        k: how many rows a query wants.
        mode: by what rows are found. For `HYBRID` a shard sends candidates: the `depth` best by
            vector and by words, each with both scores.
        depth: how many candidates of each kind; at least k.
        words: a question each; empty where only vectors are searched.
        mean_length: terms that a passage of the index has, on average.
        filter: conditions that a row must meet.
        groups: the caller's; without any the caller sees what everybody may read. None is a trusted
            caller, who sees all.
        with_rows: whether the rows are wanted too.
        generation: the one of the index that is asked; empty asks the one that the shard has.
    """

    space: str
    queries_QD: Floats
    k: int
    mode: Mode = Mode.DENSE
    depth: int = 0
    words: tuple[Words, ...] = ()
    mean_length: float = 1.0
    filter: Filter | None = None
    groups: tuple[str, ...] | None = ()
    with_rows: bool = True
    generation: str = ""

    def pack(self) -> bytes:
        """The message."""
        return bytes(msgpack.packb(self._told()))

    def _told(self) -> dict[str, Any]:
        told: dict[str, Any] = {
            "space": self.space,
            "shape": self.queries_QD.shape,
            "k": self.k,
            "mode": self.mode.value,
            "depth": self.depth,
            "words": self.words,
            "mean_length": self.mean_length,
            "with_rows": self.with_rows,
            "generation": self.generation,
            "queries": np.ascontiguousarray(self.queries_QD, dtype="<f4").tobytes(),
        }
        if self.filter is not None:
            told["filter"] = self.filter.text
        if self.groups is None:
            told["trusted"] = True
        else:
            told["groups"] = self.groups
        return told

    @classmethod
    def unpack(cls, body: bytes) -> Request:
        """The request in a message.

        Raises:
            InputError: the message is not a request, or asks for more than one may.
        """
        return unpacked(body, "search request", _request)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """A shard's best rows, best first; ordinal -1 fills where there are fewer than K.

    `scores_QK` are of the kind that was searched by, and `other_QK` of the other kind where that
    was wanted. For both kinds the hits are candidates by rising ordinal, `scores_QK` their dense
    and `other_QK` their lexical scores.

    `rows` holds the packed rows of the hits in the order of the array (fillers left out), or
    nothing. A row is empty where the hit cannot be among the K best, however scores are fused.
    """

    scores_QK: Floats
    ordinals_QK: Ordinals
    other_QK: Floats | None = None
    rows: tuple[bytes, ...] = ()

    def pack(self) -> bytes:
        """The message."""
        other = None
        if self.other_QK is not None:
            other = np.ascontiguousarray(self.other_QK, dtype="<f4").tobytes()
        return bytes(
            msgpack.packb(
                {
                    "shape": self.scores_QK.shape,
                    "scores": np.ascontiguousarray(self.scores_QK, dtype="<f4").tobytes(),
                    "other": other,
                    "ordinals": np.ascontiguousarray(self.ordinals_QK, dtype="<i8").tobytes(),
                    "rows": self.rows,
                }
            )
        )

    @classmethod
    def unpack(cls, body: bytes) -> Reply:
        """The reply in a message.

        Raises:
            InputError: the message is not a reply.
        """
        return unpacked(body, "search reply", _reply)


def _request(message: Checked) -> Request:
    queries_QD: Floats = message.array("queries", "<f4", MOST_QUERIES)
    if not np.isfinite(queries_QD).all():
        raise ValueError("queries must be finite")
    mode = Mode(message.text("mode", Mode.DENSE))
    words = tuple(_words(one) for one in message.items("words", MOST_QUERIES))
    if len(words) != len(queries_QD) and (words or mode != Mode.DENSE):
        raise ValueError(f"{len(queries_QD)} queries, words of {len(words)}")
    k = message.count("k", least=1)
    return Request(
        space=message.text("space"),
        queries_QD=queries_QD,
        k=k,
        mode=mode,
        depth=max(k, message.count("depth", 0)),
        words=words,
        mean_length=message.weight("mean_length", 1.0),
        filter=parse_filter(message.text("filter", most=MOST_TEXT))
        if message.has("filter")
        else None,
        groups=_groups(message),
        with_rows=message.flag("with_rows", True),
        generation=message.text("generation", ""),
    )


def _words(value: object) -> Words:
    words = []
    for term, weight in checked_items(value, MOST_WORDS):
        words.append((checked_text(term, LONGEST_TERM), checked_weight(weight)))
    return tuple(words)


def _groups(message: Checked) -> tuple[str, ...] | None:
    """The caller's groups: none unless some are named, and no bound only where that is said."""
    groups = checked_groups(message.items("groups", MOST_GROUPS))
    if not message.flag("trusted", False):
        return groups
    if message.has("groups"):
        raise ValueError("a trusted caller has no groups")
    return None


def checked_groups(value: Sequence[object]) -> tuple[str, ...]:
    """The names of groups.

    A name means itself alone: case, accents, spaces and look-alikes all count.

    Raises:
        ValueError: a name is empty, too long, or no string, or they are too many.
    """
    groups = tuple(
        checked_text(group, MOST_NAME_CHARS) for group in checked_items(value, MOST_GROUPS)
    )
    if not all(groups):
        raise ValueError("the name of a group is empty")
    return groups


def _reply(message: Checked) -> Reply:
    scores_QK: Floats = message.array("scores", "<f4", MOST_QUERIES)
    ordinals_QK: Ordinals = message.array("ordinals", "<i8", MOST_QUERIES)
    other_QK: Floats | None = None
    if message.has("other"):
        other_QK = message.array("other", "<f4", MOST_QUERIES)
    rows = tuple(message.items("rows", scores_QK.size))
    if not all(isinstance(row, bytes) for row in rows):
        raise TypeError("rows must be bytes")
    return Reply(scores_QK=scores_QK, ordinals_QK=ordinals_QK, other_QK=other_QK, rows=rows)
