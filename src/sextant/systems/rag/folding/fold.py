"""Deciding, document by document, whether it says what one that was kept says already.

Shape suffixes: N documents of a batch, S slots, B bands.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sextant.search.manifest import Manifest
from sextant.systems.rag.document import Document, Troubles
from sextant.systems.rag.folding.log import Folded, FoldedLog
from sextant.systems.rag.folding.runs import Kept, Run, empty_run, merged
from sextant.systems.rag.folding.sign import Bands, Signatures, Signer, algorithm

EXTRA = "folding"
_ALGORITHM = "algorithm.json"
_MOST_EXTRAS = 8
Live = Callable[[str, bytes], bool]
"""Whether a document with this id and this digest of its rows is still in the index."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A document that may be folded, with the digest of its rows."""

    document: Document
    digest: bytes


class Folding:
    """The documents that were kept, by what they say, and those that were folded into them.

    Args:
        fold_at: the least similarity of near-duplicates.
        spool: a file for the documents that are folded now.
        before: the runs of the index that is changed, oldest first.
        folders: what the generations of that index have left, oldest first.
        live: whether a document of those runs is still what it was.
    """

    def __init__(
        self,
        fold_at: float,
        spool: Path,
        before: Sequence[Run] = (),
        folders: Sequence[Path] = (),
        live: Live = lambda _id, _digest: True,
    ) -> None:
        self.fold_at = fold_at
        self.log = FoldedLog(spool, folders)
        self._before = list(before)
        self._live = live
        self._signer = Signer()
        self._runs: list[Run] = []
        self._num_before = len(folders)

    @classmethod
    def reopen(
        cls, index_dir: Path, manifest: Manifest, fold_at: float, spool: Path, live: Live
    ) -> Folding:
        """What an index remembers; signatures of another algorithm are of no use, and left out."""
        folders = [index_dir / one.folder for one in manifest.extras if one.name == EXTRA]
        runs = [Run.read(folder) for folder in folders if _is_of_this_algorithm(folder)]
        return cls(fold_at, spool, runs, folders, live)

    def judge(
        self, candidates: Sequence[Candidate], troubles: Troubles, *, keep_all: bool = False
    ) -> Iterator[Folded | None]:
        """For each document what it folds into, or None if it is kept; later ones fold into it.

        Args:
            candidates: documents, in their order.
            troubles: hears of near-duplicates that are kept since a reader or a filter would miss
                them.
            keep_all: fold none, but remember them.
        """
        texts = [f"{one.document.title} {one.document.text}" for one in candidates]
        slots_NS, bands_NB = self._signer.sign(texts)
        block = _Block()
        old = [run.near(bands_NB) for run in self._before] if not keep_all else []
        new = [run.near(bands_NB) for run in self._runs] if not keep_all else []
        for number, one in enumerate(candidates):
            looks = _kept(one, slots_NS[number])
            found = [one for one in _of(self._before, old, number) if self._is_there(one)]
            found += _of(self._runs, new, number)
            found += block.near(bands_NB[number]) if not keep_all else []
            folded = self._folded(looks, found, troubles)
            if folded is None:
                block.add(looks, bands_NB[number])
            yield folded
        if len(run := block.run()):
            self._runs.append(run)
            self._merge()

    def write(self, folder: Callable[[bool], Path]) -> None:
        """Leave what is new in a folder of the generation.

        Args:
            folder: makes that folder; given whether it is instead of those of the generations
                before, which are joined into one when they are many.
        """
        if not any(map(len, self._runs)) and not self.log.changed:
            return
        whole = self._num_before >= _MOST_EXTRAS
        old = [self._still_live(run) for run in self._before] if whole else []
        run = merged([*old, *self._runs, empty_run()])
        path = folder(whole)
        run.write(path)
        self.log.write(path, whole=whole)
        (path / _ALGORITHM).write_text(json.dumps(algorithm()))

    def _folded(self, looks: Kept, found: Sequence[Kept], troubles: Troubles) -> Folded | None:
        """The best of what shares a band, if it is good enough."""
        best: tuple[float, Kept] | None = None
        other = False
        for kept in found:
            similarity = _similarity(looks, kept)
            if similarity < self.fold_at or kept.id == looks.id:
                continue
            if kept.audience != looks.audience:
                other = True
            elif best is None or similarity > best[0]:
                best = similarity, kept
        if best is None:
            if other:
                troubles.note("near-duplicate of other groups or fields, kept", looks.id)
            return None
        similarity, kept = best
        exact = kept.content == looks.content
        return Folded(looks.id, kept.id, similarity, exact, looks.content)

    def _is_there(self, kept: Kept) -> bool:
        return self._live(kept.id, kept.digest)

    def _merge(self) -> None:
        """Join the youngest runs, so that each is more than twice as large as the next."""
        while len(self._runs) > 1 and len(self._runs[-2]) <= 2 * len(self._runs[-1]):
            self._runs[-2:] = [merged(self._runs[-2:])]

    def _still_live(self, run: Run) -> Run:
        """The run without documents that are gone or have changed since."""
        lines = [n for n, kept in enumerate(run.lines()) if self._is_there(kept)]
        return Run.of([run.document(line) for line in lines], run.bands()[lines])


def _of(runs: Sequence[Run], near: Sequence[list[set[int]]], number: int) -> list[Kept]:
    """What the runs found for one of the documents, in the order in which it was kept."""
    return [
        run.document(line)
        for run, lines_N in zip(runs, near, strict=False)
        for line in sorted(lines_N[number])
    ]


class _Block:
    """The documents of one batch that were kept so far."""

    def __init__(self) -> None:
        self._kept: list[Kept] = []
        self._bands: list[Bands] = []
        self._by_band: dict[tuple[int, int], list[int]] = {}

    def add(self, kept: Kept, bands_B: Bands) -> None:
        for band in enumerate(bands_B.tolist()):
            self._by_band.setdefault(band, []).append(len(self._kept))
        self._kept.append(kept)
        self._bands.append(bands_B)

    def near(self, bands_B: Bands) -> list[Kept]:
        lines = {
            line for band in enumerate(bands_B.tolist()) for line in self._by_band.get(band, ())
        }
        return [self._kept[line] for line in sorted(lines)]

    def run(self) -> Run:
        return Run.of(self._kept, np.array(self._bands)) if self._kept else empty_run()


def content_of(document: Document) -> int:
    """A hash of what a document says: title and text."""
    return _hash(document.title, document.text)


def _kept(one: Candidate, slots_S: Signatures) -> Kept:
    document = one.document
    audience = _hash(*sorted(document.groups), json.dumps(sorted(document.fields.items())))
    return Kept(document.id, slots_S, one.digest, content_of(document), audience)


def _similarity(one: Kept, other: Kept) -> float:
    """The estimated Jaccard similarity; 1 for the same title and text."""
    if one.content == other.content:
        return 1.0
    return float(np.count_nonzero(one.slots_S == other.slots_S) / len(one.slots_S))


def _hash(*parts: str) -> int:
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return int.from_bytes(digest.digest(), "big")


def _is_of_this_algorithm(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / _ALGORITHM).read_text()) == algorithm())
    except (OSError, ValueError):
        return False
