"""A document of a corpus, and a corpus: documents in a stable order, and what was wrong on the
way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from sextant.errors import InputError
from sextant.search.rows import Scalar

KINDS = ".txt, .md, .rst, .html, .pdf, .jsonl and .parquet"
"""The files that are read, for a person."""
_MOST_SAID = 3


class EmptyCorpusError(InputError):
    """There is no document with text."""


@dataclass(frozen=True, slots=True)
class Document:
    """One document. Offsets of its chunks count characters (code points) of `text`.

    `fields` are its metadata, for filters; `groups` may read it, or everybody if there is none.
    """

    id: str
    title: str
    text: str
    fields: Mapping[str, Scalar] = field(default_factory=dict)
    groups: tuple[str, ...] = ()


@dataclass(slots=True)
class Troubles:
    """What was skipped or mended while reading: a count a kind, and the first example of each."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def note(self, kind: str, where: str) -> None:
        """Count one more of this kind."""
        self.counts[kind] += 1
        self.examples.setdefault(kind, where)

    def lines(self) -> list[str]:
        """One line a kind, for a person."""
        return [
            f"{kind}: {self.examples[kind]}" + (f" and {count - 1} more" if count > 1 else "")
            for kind, count in self.counts.items()
        ]


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents in an order that is the same in every run; read anew by every iteration.

    `read` yields the documents of one pass and notes troubles; `limit` keeps the first so many of
    them. `first_window` says that a document is one passage, as much of it as the model sees at
    once: BEIR's own reading.
    """

    name: str
    read: Callable[[Troubles], Iterator[Document]]
    limit: int | None = None
    first_window: bool = False

    def documents(self, troubles: Troubles) -> Iterator[Document]:
        """One pass over the corpus; a repeated id is skipped and noted.

        Raises:
            EmptyCorpusError: the corpus holds no document with text.
        """
        seen: set[str] = set()
        yield from islice(self._distinct(troubles, seen), self.limit)
        if not seen:
            raise EmptyCorpusError(
                "no document with text in this corpus" + self._why(troubles),
                where=self.name,
                hint=f"what is read: {KINDS}",
            )

    @staticmethod
    def _why(troubles: Troubles) -> str:
        """What was wrong with what there was, if anything."""
        said = troubles.lines()
        return f" ({'; '.join(said[:_MOST_SAID])})" if said else ""

    def _distinct(self, troubles: Troubles, seen: set[str]) -> Iterator[Document]:
        for document in self.read(troubles):
            if document.id in seen:
                troubles.note("repeated id, skipped", document.id)
            elif not (document.text.strip() or document.title.strip()):
                troubles.note("no text, skipped", document.id)
            else:
                seen.add(document.id)
                yield document
