"""A chunk as a row of the index: packed, read back, and as a hit with its score."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import msgpack

from sextant.search.rows import Row
from sextant.search.searcher import Hit
from sextant.systems.rag.chunk import Chunk


def to_row(chunk: Chunk) -> Row:
    """The row that carries a chunk."""
    payload = msgpack.packb((chunk.title, chunk.start, chunk.end, chunk.text))
    return Row(chunk.document, bytes(payload))


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """A stretch of a document, `text` being its characters [start, end), with the score it was
    found by.
    """

    doc: str
    title: str
    start: int
    end: int
    text: str
    score: float

    @classmethod
    def of(cls, hit: Hit) -> Passage:
        """The passage of a hit."""
        title, start, end, text = msgpack.unpackb(hit.row.payload)
        return cls(
            doc=hit.row.document, title=title, start=start, end=end, text=text, score=hit.score
        )

    def as_json(self) -> dict[str, Any]:
        """As the interfaces promise: doc, title, start, end, text, score."""
        return asdict(self)
