"""What a term weighs in the whole index: of all shards and segments, and the same for each.

Each segment counts for itself, in its sorted terms, how many of its passages hold a term. A
question's terms are looked up in all of them here, where the question is asked, and go to the
shards with their weights: a passage scores the same in whatever shard it lies, and whichever shards
answer.

A caller who may not read everything is weighed for by the passages that they may read, or a score
would tell how many others hold a word. Only the mean length is that of all passages:
docs/decisions/0007 says what that tells. Deleted passages count until their segment is folded, as
in Lucene.

Shape suffixes: N rows of a segment.
"""

from __future__ import annotations

import math
import threading
from collections import Counter, OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

from sextant.errors import InputError
from sextant.search.analysis import ANALYSIS, terms
from sextant.search.cards import SegmentCard
from sextant.search.fields import FIELDS_BIN, FIELDS_JSON, Fields
from sextant.search.lexical import ABOUT, ROWS_NPY, TERMS_BIN, TERMS_NPY, Terms
from sextant.search.manifest import Manifest
from sextant.search.selection import Mask
from sextant.search.verify import verify_at_open
from sextant.search.wire import MOST_WORDS, Words

_REMEMBERED = 100_000
_AUDIENCES = 8


class Statistics:
    """The term statistics of one generation of an index; for many threads.

    A segment whose terms cannot be read counts for nothing, as its shard answers nothing.

    Args:
        index_dir: the index.
        manifest: the generation.
        beside: of another generation, whose segments are shared as far as both have them.

    Attributes:
        passages: passages with or without text, deleted ones among them.
        mean_length: terms of a passage, on average.
    """

    def __init__(
        self, index_dir: Path, manifest: Manifest, beside: Statistics | None = None
    ) -> None:
        opened = {one.folder: one for one in beside._segments} if beside is not None else {}
        self._segments: list[_Segment] = []
        length = 0
        for card in manifest.segments():
            about = card.about.get(ABOUT)
            if about is None or about["analysis"] != ANALYSIS:
                continue
            try:
                # A segment never changes under its name; only which of its rows are deleted does.
                self._segments.append(
                    opened.get(index_dir / card.folder)
                    or _Segment(index_dir, card, about["passages"])
                )
            except (InputError, OSError, ValueError):
                continue
            length += about["terms"]
        self._all = _Audience([(one, None) for one in self._segments])
        self._others: OrderedDict[tuple[str, ...], Future[_Audience]] = OrderedDict()
        self._lock = threading.Lock()
        self.passages = self._all.passages
        self.mean_length = max(1.0, length / max(1, self.passages))

    def words(self, question: str, groups: tuple[str, ...] | None = None) -> Words:
        """The question's terms that a caller may read somewhere, heaviest first, with their
        weights.

            weight(t) = (times in the question) * ln(1 + (N - n + 1/2) / (n + 1/2))

        N being the passages that the caller may read and n those of them that hold t. Of a very
        long question the heaviest terms are kept. Source: Robertson and Zaragoza 2009, equation
        3.3, in Lucene's form, which is never below 0.

        Args:
            question: as it was asked.
            groups: the caller's; None is a trusted caller, who may read everything.
        """
        audience = self._audience(groups)
        counts = Counter(terms(question))
        weights = []
        for term, often in counts.items():
            if held := audience.num_passages(term):
                rarity = math.log1p((audience.passages - held + 0.5) / (held + 0.5))
                weights.append((term, often * rarity))
        weights.sort(key=lambda one: (-one[1], one[0]))
        return tuple(weights[:MOST_WORDS])

    def _audience(self, groups: tuple[str, ...] | None) -> _Audience:
        """Those who are in exactly these groups."""
        if groups is None:
            return self._all
        key = tuple(sorted(set(groups)))
        with self._lock:
            found = self._others.get(key)
            if mine := found is None:
                found = self._others[key] = Future()
                if len(self._others) > _AUDIENCES:
                    self._others.popitem(last=False)
            self._others.move_to_end(key)
        if mine:
            # Beside the lock: files are read for it, and others' questions go on meanwhile.
            try:
                found.set_result(self._gathered(key))
            except BaseException as error:
                found.set_exception(error)
                raise
        return found.result()

    def _gathered(self, groups: tuple[str, ...]) -> _Audience:
        parts = []
        for segment in self._segments:
            try:
                parts.append((segment, segment.readable(groups)))
            except (InputError, OSError, ValueError, KeyError):
                continue
        if all(mask_N is None for _, mask_N in parts) and len(parts) == len(self._segments):
            return self._all
        return _Audience(parts)


class _Segment:
    """A segment's terms, and who may read its passages."""

    def __init__(self, index_dir: Path, card: SegmentCard, passages: int) -> None:
        self.passages = passages
        self.folder = index_dir / card.folder
        self._card = card
        verify_at_open(self.folder, card, (TERMS_BIN, TERMS_NPY))
        self.terms = Terms(self.folder)
        self._fields: Fields | None = None

    def readable(self, groups: tuple[str, ...]) -> Mask | None:
        """The rows [N] that a caller in these groups may read; None is all.

        Raises:
            InputError: a file that says so is torn or changed.
        """
        if self._fields is None:
            # Where every caller is trusted nobody needs them.
            verify_at_open(self.folder, self._card, (ROWS_NPY, FIELDS_JSON, FIELDS_BIN))
            self._fields = Fields(self.folder)
        return self._fields.readable(groups)


class _Audience:
    """Counts the passages that some callers may read."""

    def __init__(self, parts: Sequence[tuple[_Segment, Mask | None]]) -> None:
        self._parts = parts
        self._known: dict[str, int] = {}
        self.passages = sum(
            segment.passages if mask_N is None else int(mask_N.sum()) for segment, mask_N in parts
        )

    def num_passages(self, term: str) -> int:
        """How many of them hold a term."""
        held = self._known.get(term)
        if held is None:
            held = sum(segment.terms.num_passages(term, mask_N) for segment, mask_N in self._parts)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[term] = held
        return held
