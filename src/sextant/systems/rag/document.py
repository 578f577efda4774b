"""A document of a corpus, and a corpus: documents in a stable order, and what was wrong on the
way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from sextant.errors import InputError


@dataclass(frozen=True, slots=True)
class Document:
    """One document. Offsets of its chunks count characters (code points) of `text`."""

    id: str
    title: str
    text: str


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
            InputError: the corpus holds no document with text.
        """
        seen: set[str] = set()
        yield from islice(self._distinct(troubles, seen), self.limit)
        if not seen:
            raise InputError("no document with text in this corpus", where=self.name)

    def _distinct(self, troubles: Troubles, seen: set[str]) -> Iterator[Document]:
        for document in self.read(troubles):
            if document.id in seen:
                troubles.note("repeated id, skipped", document.id)
            elif not (document.text.strip() or document.title.strip()):
                troubles.note("no text, skipped", document.id)
            else:
                seen.add(document.id)
                yield document
