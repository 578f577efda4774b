"""Changing a published index: documents added, replaced and deleted, in one generation and one
switch.

What is added goes into new segments, one for each shard that gets any; what is deleted or replaced
is named in tombstones beside the segments that it lies in. Nothing else is written again.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from sextant.errors import InputError
from sextant.search.cards import FileCard, SegmentCard, ShardCard, TombstoneCard
from sextant.search.directory import Directory, Place, read_tombstones
from sextant.search.documents import Entry
from sextant.search.generations import BUILDING, GENERATIONS, publish, unused_generation
from sextant.search.kinds import is_exact, read_trained
from sextant.search.manifest import Manifest, sync_directory
from sextant.search.rows import Row, pack_row
from sextant.search.segment_writer import SegmentWriter, extra_card, sync_file
from sextant.search.tune import tune
from sextant.search.wire import Floats
from sextant.search.writer import by_shard, segment_folder

_LEAST_FOR_A_KIND = 10_000
"""A segment of fewer vectors is flat whatever the index is: scanned sooner than trained."""


class IndexChange:
    """A change of an index under construction; a context manager. `publish` makes it current.

    Only one writer may be at work in an index: the owner holds its `workshop`.
    """

    def __init__(self, index_dir: Path, manifest: Manifest) -> None:
        self.manifest = manifest
        self.directory = Directory(index_dir, manifest)
        self._dir = index_dir
        self._folder = index_dir / BUILDING / "change"
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        self._segments: dict[int, SegmentWriter] = {}
        self._dead: dict[tuple[int, int], list[Entry]] = {}
        self._gone: set[str] = set()
        self._added: set[str] = set()
        self._last: str | None = None
        self._next_ordinal = manifest.next_ordinal
        self._old_extras = manifest.extras
        self._extras: list[Path] = []
        self._digest = hashlib.sha256(manifest.key.encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.directory.close()
        for segment in self._segments.values():
            segment.close()

    def add(self, rows: Sequence[Row], vectors_ND: Floats) -> None:
        """Append rows with their vectors; a document that the index has is replaced.

        The rows of a document must come one after the other.

        Raises:
            InputError: a document comes twice.
        """
        vectors_ND = np.ascontiguousarray(vectors_ND, dtype=np.float32)
        if vectors_ND.shape != (len(rows), self.manifest.dims):
            raise ValueError(f"{len(rows)} rows, vectors of shape {vectors_ND.shape}")
        for row in rows:
            self._digest.update(pack_row(row))
            if row.document != self._last:
                self._begin(row.document)
        for number, places in by_shard(rows, len(self.manifest.shards)).items():
            self._segment(number).extend(
                [self._next_ordinal + place for place in places],
                [rows[place] for place in places],
                vectors_ND[places],
            )
        self._next_ordinal += len(rows)

    def delete(self, document: str) -> bool:
        """Delete a document; whether the index had it."""
        places = self.directory.find(document)
        if places and document not in self._gone:
            self._gone.add(document)
            self._digest.update(document.encode("utf-8", "surrogatepass"))
            for place in places:
                self._dead.setdefault((place.shard, place.segment), []).append(place.entry)
            return True
        return False

    def find(self, document: str) -> list[Place]:
        """Where a document lies in the index as it was before this change."""
        return self.directory.find(document)

    def extra(self, name: str, *, instead: bool = False) -> Path:
        """A folder of this name for the owner's own files, beside those of this name that the index
        has, or instead of them.
        """
        if instead:
            self._old_extras = tuple(one for one in self._old_extras if one.name != name)
        folder = self._folder / name
        folder.mkdir()
        self._extras.append(folder)
        return folder

    def publish(self, about: dict[str, Any] | None = None) -> Manifest:
        """Write the segments and tombstones, make them durable, and switch to them.

        Returns:
            the new manifest; or the old one, if nothing was changed.
        """
        about = self.manifest.about if about is None else about
        changed = self._segments or self._dead or self._extras
        if not changed and about == self.manifest.about:
            shutil.rmtree(self._folder, ignore_errors=True)
            return self.manifest
        key = self._digest.hexdigest()
        generation = unused_generation(self._dir, key)
        home = f"{GENERATIONS}/{generation}"
        shards = [self._shard(number, home) for number in range(len(self.manifest.shards))]
        manifest = replace(
            self.manifest,
            generation=generation,
            key=key,
            next_ordinal=self._next_ordinal,
            shards=tuple(shards),
            extras=(*self._old_extras, *(extra_card(folder, home) for folder in self._extras)),
            about=about,
        )
        publish(self._dir, self._folder, manifest)
        return manifest

    def _begin(self, document: str) -> None:
        """A document's first row."""
        if document in self._added:
            raise InputError(f"document {document!r} comes twice in one change")
        self._added.add(document)
        self._last = document
        self.delete(document)

    def _segment(self, number: int) -> SegmentWriter:
        if number not in self._segments:
            folder = self._folder / segment_folder(number)
            self._segments[number] = SegmentWriter(folder, self.manifest.dims)
        return self._segments[number]

    def _shard(self, number: int, home: str) -> ShardCard:
        """The shard's card after the change; its new files are durable."""
        card = self.manifest.shards[number]
        segments = [
            self._buried(number, place, segment, home)
            for place, segment in enumerate(card.segments)
        ]
        if (writer := self._segments.get(number)) is not None:
            segments.append(finish_segment(writer, self._dir, self.manifest, number, home))
        return replace(card, segments=tuple(segments))

    def _buried(self, shard: int, place: int, card: SegmentCard, home: str) -> SegmentCard:
        """The segment's card with the tombstones that this change adds."""
        entries = self._dead.get((shard, place))
        if not entries:
            return card
        rows = [np.arange(one.first, one.first + one.num, dtype=np.int64) for one in entries]
        dead_R = np.unique(np.concatenate([read_tombstones(self._dir, card), *rows]))
        path = self._folder / f"dead-{shard:03d}-{place:03d}.npy"
        np.save(path, dead_R)
        sync_file(path)
        sync_directory(self._folder)
        documents = len(entries) + (card.dead.documents if card.dead else 0)
        return replace(
            card,
            dead=TombstoneCard(
                file=f"{home}/{path.name}",
                documents=documents,
                vectors=len(dead_R),
                card=FileCard.of(path),
            ),
        )


def finish_segment(
    writer: SegmentWriter, index_dir: Path, manifest: Manifest, number: int, home: str
) -> SegmentCard:
    """Finish a segment of a shard that has others: flat while it is small.

    It is filled from the trained index of the shard's first segment, if that has one.

    Args:
        writer: the segment under construction.
        index_dir: the index's folder.
        manifest: the index as it is.
        number: the shard's.
        home: the new generation's folder, as a path under the index.
    """
    key = manifest.faiss if writer.vectors >= _LEAST_FOR_A_KIND else "Flat"
    trained = None
    if not is_exact(key):
        trained = read_trained(index_dir / manifest.shards[number].segments[0].folder)
    try:
        writer.finish(key, trained)
    except InputError:
        if is_exact(key):
            raise
        # Too few for this kind to be trained on.
        key = "Flat"
        writer.finish(key)
    tuned = tune([writer.trial()], manifest.wanted_recall, mapped=manifest.raw_mapped)
    return writer.card(f"{home}/{writer.folder.name}", key, tuned)
