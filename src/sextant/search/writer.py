"""Writing an index: rows to shards by their document, then the shards' files, then the switch.

Nothing is current before it is durable: segments are written under `building/`, synced, renamed
into `generations/`, and only then does the manifest name them. A kill at any instant leaves the old
index or the new one. What was replaced is removed last, and only where nobody serves from it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from sextant.errors import InputError
from sextant.search import engine
from sextant.search.cards import ShardCard
from sextant.search.generations import BUILDING, GENERATIONS, publish, unused_generation
from sextant.search.kinds import make, train, training_rows
from sextant.search.manifest import WANTED_RECALL, Manifest
from sextant.search.placement import shard_name, shard_of
from sextant.search.rows import Row
from sextant.search.segment_writer import SegmentWriter, extra_card
from sextant.search.tune import tune
from sextant.search.wire import Floats


class IndexWriter:
    """Builds one generation of an index and makes it the current one; a context manager.

    Args:
        index_dir: where the index lives; made if absent.
        key: identifies the build; its first characters name the generation.
        dims: of the vectors, which must be float32 and, for cosine, of unit length.
        num_shards: at least 1.
        space: the vector space, as the searcher will name it.
        faiss_key: a Faiss factory string.
        recall: the recall@10 that searches are tuned to.
        raw_mapped: map the raw vectors that refine codes, or else read them each time.
    """

    def __init__(
        self,
        index_dir: Path,
        *,
        key: str,
        dims: int,
        num_shards: int,
        space: str,
        faiss_key: str = "Flat",
        recall: float = WANTED_RECALL,
        raw_mapped: bool = True,
    ) -> None:
        if num_shards < 1:
            raise InputError(f"an index needs at least 1 shard, not {num_shards}")
        engine.check_key(faiss_key, dims)
        self._dir = index_dir
        self._key = key
        self._dims = dims
        self._space = space
        self._faiss_key = faiss_key
        self._recall = recall
        self._raw_mapped = raw_mapped
        self._generation = unused_generation(index_dir, key)
        self._folder = index_dir / BUILDING / f"generation-{self._generation}"
        # Rows are cheap to write again; what is dear (vectors) the owner keeps elsewhere.
        shutil.rmtree(self._folder, ignore_errors=True)
        self._shards = [
            SegmentWriter(self._folder / segment_folder(number), dims)
            for number in range(num_shards)
        ]
        self._extras: list[Path] = []
        self._num_rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for shard in self._shards:
            shard.close()

    def add(self, rows: Sequence[Row], vectors_ND: Floats) -> None:
        """Append rows with their vectors; the rows of a document must come one after the other."""
        vectors_ND = np.ascontiguousarray(vectors_ND, dtype=np.float32)
        if vectors_ND.shape != (len(rows), self._dims):
            raise ValueError(f"{len(rows)} rows, vectors of shape {vectors_ND.shape}")
        for number, places in by_shard(rows, len(self._shards)).items():
            self._shards[number].extend(
                [self._num_rows + place for place in places],
                [rows[place] for place in places],
                vectors_ND[places],
            )
        self._num_rows += len(rows)

    def extra(self, name: str) -> Path:
        """A folder of this name for the owner's own files, published with the generation."""
        folder = self._folder / name
        folder.mkdir()
        self._extras.append(folder)
        return folder

    def publish(
        self, about: dict[str, Any], progress: Callable[[str], None] | None = None
    ) -> Manifest:
        """Write every shard, make them durable, switch to them, and remove what they replace."""
        trained = self._trained()
        for number, shard in enumerate(self._shards):
            shard.finish(self._faiss_key, trained)
            if progress is not None:
                progress(shard_name(number))
        trials = [shard.trial() for shard in self._shards]
        tuned = tune(trials, self._recall, mapped=self._raw_mapped)
        home = f"{GENERATIONS}/{self._generation}"
        cards = [
            shard.card(f"{home}/{shard.folder.name}", self._faiss_key, tuned)
            for shard in self._shards
        ]
        manifest = Manifest(
            generation=self._generation,
            key=self._key,
            space=self._space,
            dims=self._dims,
            faiss=self._faiss_key,
            next_ordinal=self._num_rows,
            shards=tuple(
                ShardCard(
                    name=shard_name(number), dims=self._dims, space=self._space, segments=(card,)
                )
                for number, card in enumerate(cards)
            ),
            extras=tuple(extra_card(folder, home) for folder in self._extras),
            wanted_recall=self._recall,
            raw_mapped=self._raw_mapped,
            about=about,
        )
        publish(self._dir, self._folder, manifest)
        return manifest

    def _trained(self) -> Any | None:
        """One trained, empty index for all shards, from a sample of them all; None for a kind that
        needs none.
        """
        wanted = training_rows(make(self._faiss_key, self._dims))
        if not wanted:
            return None
        raw = [shard.raw() for shard in self._shards]
        share = wanted / max(1, self._num_rows)
        samples = [engine.sample(vectors_ND, round(share * len(vectors_ND))) for vectors_ND in raw]
        return train(np.concatenate(samples), self._faiss_key)


def by_shard(rows: Sequence[Row], num_shards: int) -> dict[int, list[int]]:
    """The places of some rows, by the number of the shard that each goes to."""
    places: dict[int, list[int]] = {}
    number, document = 0, None
    for place, row in enumerate(rows):
        if row.document != document:
            document = row.document
            number = shard_of(document, num_shards)
        places.setdefault(number, []).append(place)
    return places


def segment_folder(number: int) -> str:
    """The name of the folder of a shard's segment in a generation."""
    return f"shard-{number:03d}"
