"""Documents on their way into an index: cut into chunks, held against those that are there, and
spilled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from sextant.search.documents import rows_digest
from sextant.systems.rag.chunk import Chunk, ChunkRule, Tokenizer, chunks
from sextant.systems.rag.document import Document, Troubles
from sextant.systems.rag.folding.fold import Candidate, Folding
from sextant.systems.rag.folding.log import Folded
from sextant.systems.rag.passage import to_row
from sextant.systems.rag.progress import Progress
from sextant.systems.rag.spill import Spill

_BATCH_DOCUMENTS = 64
_BATCH_CHARS = 4 << 20

Unchanged = Callable[[str, bytes], bool]
"""Whether the index has a document with this id and this digest of its rows."""


@dataclass(slots=True)
class Taken:
    """What became of the documents.

    Attributes:
        kept: ids of documents that were spilled.
        folded: those that were folded into another, this time.
        unchanged: how many the index has as they are, or folded as they are.
    """

    kept: set[str] = field(default_factory=set)
    folded: dict[str, Folded] = field(default_factory=dict)
    unchanged: int = 0


@dataclass(frozen=True, slots=True)
class _Cut:
    document: Document
    chunks: list[Chunk]
    digest: bytes


class Intake:
    """Takes documents in.

    Args:
        tokenizer: counts tokens.
        rule: how documents are cut.
        spill: takes the chunks of those that are indexed.
        folding: finds near-duplicates; None takes every document.
        unchanged: whether a document is in the index already; None if there is no index.
        troubles: hears what is odd.
        progress: hears of every document.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        rule: ChunkRule,
        spill: Spill,
        *,
        folding: Folding | None,
        unchanged: Unchanged | None,
        troubles: Troubles,
        progress: Progress,
    ) -> None:
        self.taken = Taken()
        self._tokenizer = tokenizer
        self._rule = rule
        self._spill = spill
        self._folding = folding
        self._unchanged = unchanged
        self._troubles = troubles
        self._progress = progress

    def take(self, documents: Iterable[Document], *, keep_all: bool = False) -> None:
        """Take documents in; `keep_all` folds none of them."""
        for batch in self._batches(documents):
            if self._folding is None:
                for one in batch:
                    self._keep(one)
                continue
            candidates = [Candidate(one.document, one.digest) for one in batch]
            verdicts = self._folding.judge(candidates, self._troubles, keep_all=keep_all)
            for one, folded in zip(batch, verdicts, strict=True):
                if folded is None:
                    self._folding.log.unfold(one.document.id)
                    self._keep(one)
                elif self._folding.log.get(folded.id) == folded:
                    self.taken.unchanged += 1
                else:
                    self._folding.log.fold(folded, one.document)
                    self.taken.folded[folded.id] = folded

    def _keep(self, one: _Cut) -> None:
        self._spill.extend(one.chunks)
        self.taken.kept.add(one.document.id)

    def _batches(self, documents: Iterable[Document]) -> Iterator[list[_Cut]]:
        """New or changed documents, some at a time, but not too much text."""
        batch: list[_Cut] = []
        num_chars = 0
        for document in documents:
            self._progress.advance()
            cut = list(chunks(document, self._tokenizer, self._rule))
            digest = rows_digest(map(to_row, cut))
            if self._unchanged is not None and self._unchanged(document.id, digest):
                self.taken.unchanged += 1
                continue
            batch.append(_Cut(document, cut, digest))
            num_chars += len(document.text)
            if len(batch) == _BATCH_DOCUMENTS or num_chars > _BATCH_CHARS:
                yield batch
                batch, num_chars = [], 0
        if batch:
            yield batch
