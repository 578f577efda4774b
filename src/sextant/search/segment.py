"""One segment, open: its files held to its card, its index, its rows, its words and its fields.

Shape suffixes: N rows of the segment, Q queries, D dimensions, K hits a query.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sextant.errors import InputError
from sextant.search import engine
from sextant.search.cards import SegmentCard
from sextant.search.effort import MAPPED
from sextant.search.fields import Fields
from sextant.search.kinds import is_exact
from sextant.search.lexical import Lexical, Words, best
from sextant.search.raw import products, refinement
from sextant.search.resident import read_in
from sextant.search.rows import Rows
from sextant.search.selection import Mask
from sextant.search.stored import INDEX_FILE, RAW_FILE, raw_vectors
from sextant.search.verify import verify_at_open, verify_behind
from sextant.search.wire import Floats


class Segment:
    """The files of a segment, open. They never change, so generations share it.

    What is deleted from it is not its own: each generation gives its own mask to `dense`.

    Attributes:
        card: what it was published as.
        rows: its rows.
        lexical: which rows hold which words.
        fields: which rows a filter and a caller's groups allow.
        broken: what reading its large files through has found wrong, if anything.
    """

    def __init__(self, index_dir: Path, card: SegmentCard) -> None:
        """Hold the files to the card, and open them.

        Raises:
            InputError: a file is missing, torn or changed; it is named.
        """
        self._folder = index_dir / card.folder
        self._read_through = False
        self.card = card
        self.broken = ""
        verify_at_open(self._folder, card)
        try:
            self.rows = Rows(self._folder)
            self.lexical = Lexical(self._folder, len(self.rows))
            self.fields = Fields(self._folder)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"corrupt rows: {error}", where=str(self._folder)) from error
        self._read_in()
        self._index = engine.read_index(self._folder / INDEX_FILE, card.tuned)
        self._again = refinement(self._folder / RAW_FILE, self._index.d, card.tuned)
        counts = self._index.ntotal, len(self.rows), self.fields.num_rows
        if any(count != card.vectors for count in counts):
            raise InputError("vectors and rows do not match", where=str(self._folder))

    def _read_in(self) -> None:
        """Have in memory what is searched at random, where there is room.

        Raises:
            InputError: a file cannot be read.
        """
        mapped = bool(self.card.tuned.get(MAPPED, 1))
        for name in (INDEX_FILE, RAW_FILE) if mapped else (INDEX_FILE,):
            try:
                read_in(self._folder / name)
            except OSError as error:
                raise InputError(f"unreadable: {error}", where=str(self._folder / name)) from error

    def dense(
        self, queries_QD: Floats, k: int, allowed_N: Mask | None
    ) -> tuple[Floats, npt.NDArray[np.int64]]:
        """The K best allowed rows of each query: (scores_QK, rows_QK), row -1 for want of more."""
        exact = is_exact(self.card.faiss)
        return engine.search(
            self._index, queries_QD, k, exact=exact, allowed_N=allowed_N, again=self._again
        )

    def dense_of(self, query_D: Floats, rows_C: npt.NDArray[np.int64]) -> Floats:
        """What given rows score by their whole vectors [C]; of a flat index what `dense` says."""
        if (self._folder / RAW_FILE).exists():
            # The index keeps no whole vectors: the segment has them beside it.
            vectors_CD = np.asarray(raw_vectors(self._folder, self._index.d)[rows_C])
        else:
            exact = is_exact(self.card.faiss)
            vectors_CD = engine.vectors_of(self._index, rows_C, exact=exact)
        return products(vectors_CD, query_D)

    def words(
        self, words: Words, mean_length: float, k: int, allowed_N: Mask | None
    ) -> tuple[Floats, npt.NDArray[np.int64]]:
        """The K best allowed rows that hold any of the words: (scores_K, rows_K), or fewer."""
        return best(self.lexical.scores(words, mean_length), k, allowed_N)

    def read_through(self, ended: Callable[[float], bool]) -> None:
        """Check the files that were too large to check at once, if nobody has; see `broken`."""
        if self._read_through:
            return
        self._read_through = True
        try:
            verify_behind(self._folder, self.card, ended)
        except InputError as error:
            self.broken = str(error)
