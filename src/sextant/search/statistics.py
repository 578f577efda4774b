"""What a term weighs in the whole index: of all shards and segments, and the same for each.

Each segment counts for itself, in its sorted terms, how many of its passages hold a term. A
question's terms are looked up in all of them here, where the question is asked, and go to the
shards with their weights: a passage scores the same in whatever shard it lies, and whichever shards
answer.

Deleted passages count until their segment is folded, as in Lucene. Passages that a caller may not
read count too: docs/decisions/0005 says what that tells.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

from sextant.errors import InputError
from sextant.search.analysis import ANALYSIS, terms
from sextant.search.lexical import ABOUT, TERMS_BIN, TERMS_NPY, Terms
from sextant.search.manifest import Manifest
from sextant.search.verify import verify_at_open
from sextant.search.wire import MOST_WORDS, Words

_REMEMBERED = 100_000


class Statistics:
    """The term statistics of one generation of an index.

    A segment whose terms cannot be read counts for nothing, as its shard answers nothing.

    Attributes:
        passages: passages with or without text, deleted ones among them.
        mean_length: terms of a passage, on average.
    """

    def __init__(self, index_dir: Path, manifest: Manifest) -> None:
        self._segments: list[Terms] = []
        self._known: dict[str, int] = {}
        self.passages = length = 0
        for card in manifest.segments():
            about = card.about.get(ABOUT)
            if about is None or about["analysis"] != ANALYSIS:
                continue
            try:
                verify_at_open(index_dir / card.folder, card, (TERMS_BIN, TERMS_NPY))
                self._segments.append(Terms(index_dir / card.folder))
            except (InputError, OSError, ValueError):
                continue
            self.passages += about["passages"]
            length += about["terms"]
        self.mean_length = max(1.0, length / max(1, self.passages))

    def words(self, question: str) -> Words:
        """The question's terms that the index holds, heaviest first, with their weights.

            weight(t) = (times in the question) * ln(1 + (N - n + 1/2) / (n + 1/2))

        N being the passages of the index and n those that hold t. Of a very long question the
        heaviest terms are kept. Source: Robertson and Zaragoza 2009, equation 3.3, in Lucene's
        form, which is never below 0.
        """
        counts = Counter(terms(question))
        weights = []
        for term, often in counts.items():
            if held := self._num_passages(term):
                rarity = math.log1p((self.passages - held + 0.5) / (held + 0.5))
                weights.append((term, often * rarity))
        weights.sort(key=lambda one: (-one[1], one[0]))
        return tuple(weights[:MOST_WORDS])

    def _num_passages(self, term: str) -> int:
        """How many passages of the index hold a term."""
        if term not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[term] = sum(segment.num_passages(term) for segment in self._segments)
        return self._known[term]
