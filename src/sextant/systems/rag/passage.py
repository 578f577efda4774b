"""A chunk as a row of the index: packed, read back, and as a hit with its score."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import msgpack

from sextant.search.merge import Hit
from sextant.search.rows import Row
from sextant.systems.rag.chunk import Chunk


def to_row(chunk: Chunk) -> Row:
    """The row that carries a chunk: title and passage lie in its text, and are not kept twice."""
    payload = msgpack.packb((len(chunk.title), chunk.start, chunk.end, chunk.gap))
    return Row(
        chunk.document,
        bytes(payload),
        chunk.fields,
        chunk.groups,
        f"{chunk.embedded}{chunk.rest}",
    )


def from_row(row: Row) -> Chunk:
    """The chunk that a row carries."""
    title_chars, start, end, gap = msgpack.unpackb(row.payload)
    title = row.text[:title_chars]
    body = row.text[title_chars + 1 :] if title else row.text
    text, rest = body[: end - start], body[end - start :]
    return Chunk(row.document, title, start, end, text, rest, gap, row.fields, row.groups)


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """A stretch of a document, `text` being its characters [start, end), with the score it was
    found by.

    `dense` is its cosine with the question and `lexical` its BM25 score, where they are known.
    """

    doc: str
    title: str
    start: int
    end: int
    text: str
    score: float
    dense: float | None = None
    lexical: float | None = None

    @classmethod
    def of(cls, hit: Hit) -> Passage:
        """The passage of a hit."""
        chunk = from_row(hit.row)
        return cls(
            doc=chunk.document,
            title=chunk.title,
            start=chunk.start,
            end=chunk.end,
            text=chunk.text,
            score=hit.score,
            dense=hit.dense,
            lexical=hit.lexical,
        )

    def as_json(self) -> dict[str, Any]:
        """As the interfaces promise: doc, title, start, end, text, score."""
        value = asdict(self)
        del value["dense"], value["lexical"]
        return value
