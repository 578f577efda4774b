"""BM25 over a segment: which rows hold a term, how often, and how long each is.

What a term weighs is not kept here. It depends on how many passages of the whole index hold it, and
a segment knows only its own; so weights come with the question (`search/statistics.py`), and a row
scores the same in whatever shard it lies. Likewise the mean length.

    score(q, d) = sum over terms t of q: weight(t) * f / (f + k1 (1 - b + b |d| / mean length))

f being how often d holds t and |d| its number of terms. Source: Robertson and Zaragoza, "The
Probabilistic Relevance Framework: BM25 and Beyond", 2009, in the form of Lucene's BM25Similarity
(without the factor k1 + 1, which changes no order).

    terms.bin, terms.npy     the terms, sorted; where each ends, and where its postings end
    postings.rows.npy        the rows that hold each term, term by term, rising
    postings.codes.npy       f and |d| of each posting in 16 bits

Files are memory-mapped. Shape suffixes: N rows, T terms, P postings, C codes, K hits.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sextant.search.analysis import ANALYSIS, terms
from sextant.search.arrays import read_array
from sextant.search.rows import Row
from sextant.search.selection import Mask
from sextant.search.sorted_strings import SortedStrings, map_file, utf8, write_strings

TERMS_BIN = "terms.bin"
TERMS_NPY = "terms.npy"
ROWS_NPY = "postings.rows.npy"
CODES_NPY = "postings.codes.npy"
K1 = 1.2
B = 0.75
"""Lucene's defaults; Source: Robertson and Zaragoza 2009, section 3.5.3 on their usual range."""
ABOUT = "lexical"
"""Under what a segment's card has `{"analysis", "passages", "terms"}`."""

_LENGTH_BITS = 10
_EXACT_LENGTHS = 768
# Lengths up to 767 are kept as they are, longer ones to within 2%, as 256 steps up to ten million.
_LENGTHS_C = np.concatenate(
    [np.arange(_EXACT_LENGTHS), np.geomspace(_EXACT_LENGTHS, 1e7, 256)]
).astype(np.float32)
_MOST_OFTEN = 63
_SPILL = np.dtype([("term", "<i4"), ("row", "<i4"), ("code", "<u2")])
_SPILL_FILE = "postings.spill"
_BLOCK = 1 << 20

Words = Sequence[tuple[str, float]]
"""A question's terms with their weights."""
Scores = npt.NDArray[np.float32]
RowNumbers = npt.NDArray[np.int64]


class LexicalWriter:
    """Inverts the texts of a segment's rows; memory holds the terms and one block of postings."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers: dict[str, int] = {}
        self._spill = (folder / _SPILL_FILE).open("w+b")
        self._block = (array("i"), array("i"), array("H"))
        self._num_rows = 0
        self._num_terms = 0

    def append(self, ordinal: int, row: Row) -> None:  # noqa: ARG002
        """Take in the next row's text."""
        counts = Counter(terms(row.text)) if row.text else Counter[str]()
        length = counts.total()
        # A long length's code is that of the nearest step below it.
        code = int(np.searchsorted(_LENGTHS_C, length, side="right")) - 1
        for term, often in counts.items():
            self._block[0].append(self._numbers.setdefault(term, len(self._numbers)))
            self._block[1].append(self._num_rows)
            self._block[2].append(min(often, _MOST_OFTEN) << _LENGTH_BITS | code)
        self._num_rows += 1
        self._num_terms += length
        if len(self._block[0]) >= _BLOCK:
            self._flush()

    def finish(self) -> dict[str, Any]:
        """Write the files; returns what the segment's card should say."""
        self._flush()
        order = sorted(self._numbers, key=utf8)
        rank_T = np.empty(len(order), np.int64)
        for rank, term in enumerate(order):
            rank_T[self._numbers[term]] = rank
        with (self._folder / TERMS_BIN).open("wb") as stream:
            ends_T = write_strings(stream, map(utf8, order))
        posting_ends_T = self._invert(rank_T)
        np.save(self._folder / TERMS_NPY, np.stack([ends_T, posting_ends_T]))
        self.close()
        (self._folder / _SPILL_FILE).unlink()
        about = {"analysis": ANALYSIS, "passages": self._num_rows, "terms": self._num_terms}
        return {ABOUT: about}

    def close(self) -> None:
        """Let the files go, finished or not."""
        self._spill.close()

    def _flush(self) -> None:
        lines = np.empty(len(self._block[0]), _SPILL)
        for name, column in zip(("term", "row", "code"), self._block, strict=True):
            lines[name] = column
        self._spill.write(lines.tobytes())
        self._block = (array("i"), array("i"), array("H"))

    def _invert(self, rank_T: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Sort the spilled postings by term into their files, a block at a time; returns where
        each term's end [T].
        """
        counts_T = np.zeros(len(rank_T), np.int64)
        for lines in self._blocks():
            counts_T += np.bincount(rank_T[lines["term"]], minlength=len(rank_T))
        ends_T = np.cumsum(counts_T)
        total = int(ends_T[-1]) if len(ends_T) else 0
        rows_P = _mapped(self._folder / ROWS_NPY, total, np.int32)
        codes_P = _mapped(self._folder / CODES_NPY, total, np.uint16)
        free_T = ends_T - counts_T
        for lines in self._blocks():
            # Stable, so that the rows of a term stay in their order.
            order = np.argsort(rank_T[lines["term"]], kind="stable")
            ranks = rank_T[lines["term"]][order]
            begins = np.searchsorted(ranks, ranks)
            places = free_T[ranks] + np.arange(len(ranks)) - begins
            rows_P[places] = lines["row"][order]
            codes_P[places] = lines["code"][order]
            free_T += np.bincount(ranks, minlength=len(rank_T))
        for mapped in (rows_P, codes_P):
            if isinstance(mapped, np.memmap):
                mapped.flush()
        return ends_T

    def _blocks(self) -> Any:
        self._spill.seek(0)
        while block := self._spill.read(_BLOCK * _SPILL.itemsize):
            yield np.frombuffer(block, _SPILL)


class Terms:
    """The terms of a segment, and in which of its passages each is.

    Attributes:
        rows_P: the rows that hold each term, term by term.
    """

    def __init__(self, folder: Path) -> None:
        table_2T = np.asarray(read_array(folder / TERMS_NPY))
        self._strings = SortedStrings(map_file(folder / TERMS_BIN), table_2T[0])
        self._ends_T: npt.NDArray[np.int64] = table_2T[1]
        self.rows_P = np.asarray(read_array(folder / ROWS_NPY))

    def postings(self, term: str) -> tuple[int, int]:
        """Where the postings of a term begin and end; nowhere if no passage holds it."""
        number = self._strings.find(term)
        if number is None:
            return 0, 0
        return int(self._ends_T[number - 1]) if number else 0, int(self._ends_T[number])

    def num_passages(self, term: str, counted_N: Mask | None = None) -> int:
        """How many passages hold a term, of all or of some."""
        start, end = self.postings(term)
        if counted_N is None or end == start:
            return end - start
        return int(np.count_nonzero(counted_N[self.rows_P[start:end]]))


class Lexical:
    """The postings of one segment, read from their files on demand."""

    def __init__(self, folder: Path, num_rows: int) -> None:
        self._num_rows = num_rows
        self._terms = Terms(folder)
        self._codes_P = np.asarray(read_array(folder / CODES_NPY))
        self._parts: tuple[float, Scores] = (0.0, np.empty(0, np.float32))

    def scores(self, words: Words, mean_length: float) -> Scores:
        """What every row [N] scores: 0 where it holds none of the terms.

        A row's terms are summed in the order of the words, whatever else the segment holds, so the
        scores of N shards are those of one to the bit.
        """
        from scipy.sparse import csc_array

        held = [(*self._terms.postings(term), weight) for term, weight in words]
        held = [(start, end, weight) for start, end, weight in held if end > start]
        if not held:
            return np.zeros(self._num_rows, np.float32)
        parts_C = self._table(mean_length)
        ends = np.cumsum([0, *(end - start for start, end, _ in held)])
        matrix_NT = csc_array(
            (
                parts_C[np.concatenate([self._codes_P[start:end] for start, end, _ in held])],
                np.concatenate([self._terms.rows_P[start:end] for start, end, _ in held]),
                ends.astype(np.int32 if ends[-1] < 1 << 31 else np.int64),
            ),
            shape=(self._num_rows, len(held)),
        )
        scores_N: Scores = matrix_NT @ np.array([weight for *_, weight in held], np.float32)
        return scores_N

    def _table(self, mean_length: float) -> Scores:
        """f / (f + k1 (1 - b + b |d| / mean length)) of every code [C]."""
        if self._parts[0] != mean_length:
            often = np.arange(_MOST_OFTEN + 1, dtype=np.float32)[:, None]
            norm = np.float32(K1) * (1 - B + B * _LENGTHS_C / np.float32(mean_length))[None, :]
            self._parts = (mean_length, (often / (often + norm)).astype(np.float32).ravel())
        return self._parts[1]


def best(scores_N: Scores, k: int, allowed_N: Mask | None) -> tuple[Scores, RowNumbers]:
    """The K best rows that score at all and are allowed: by falling score, then by rising row."""
    if allowed_N is not None:
        scores_N = np.where(allowed_N, scores_N, np.float32(0))
    least = np.float32(0)
    if k < len(scores_N):
        least = np.partition(scores_N, len(scores_N) - k)[len(scores_N) - k]
    rows = np.flatnonzero((scores_N >= least) & (scores_N > 0))
    order = np.lexsort((rows, -scores_N[rows]))[:k]
    return scores_N[rows[order]], rows[order]


def _mapped(path: Path, length: int, dtype: type) -> Any:
    """A new array file to be written in place; one without entries cannot be mapped."""
    if length:
        return np.lib.format.open_memmap(path, "w+", dtype, (length,))
    empty: npt.NDArray[Any] = np.empty(0, dtype)
    np.save(path, empty)
    return empty
