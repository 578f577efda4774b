"""Folding segments: many small ones into one, and out with what is deleted.

A search asks every segment of a shard, and a deleted row still takes memory and scanning, so both
must stay few. Segments are folded from the youngest back, so that each is more than twice as large
as all that are younger: a row is written again about log(N) times in its life, and a shard has
about log(N) segments.

Shape suffixes: N rows of a segment, B rows of a block, D dimensions.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sextant.search.cards import SegmentCard, ShardCard
from sextant.search.change import finish_segment
from sextant.search.directory import SegmentRows
from sextant.search.generations import BUILDING, GENERATIONS, publish, unused_generation
from sextant.search.manifest import Manifest
from sextant.search.segment_writer import SegmentWriter
from sextant.search.stored import vector_blocks
from sextant.search.writer import segment_folder

MOST_SEGMENTS = 4
"""Segments of a shard before any are folded: each costs a search some tens of microseconds."""
MOST_DEAD = 0.2
"""Share of a shard's rows that may be deleted before the shard is written again."""


def fold_from(segments: Sequence[SegmentCard]) -> int | None:
    """From which segment on a shard should be folded into one; None where it is well as it is."""
    vectors = sum(one.vectors for one in segments)
    dead = vectors - sum(one.live_vectors for one in segments)
    if dead > MOST_DEAD * vectors:
        return 0
    if len(segments) <= MOST_SEGMENTS:
        return None
    younger = 0
    first = len(segments) - 1
    for place in range(len(segments) - 1, -1, -1):
        if segments[place].live_vectors <= 2 * younger:
            first = place
        younger += segments[place].live_vectors
    # Well graded but many: the two youngest are the cheapest to join.
    return min(first, len(segments) - 2)


def compact(
    index_dir: Path, manifest: Manifest, progress: Callable[[str], None] | None = None
) -> Manifest:
    """Fold what is worth it, as one generation; what is found in the index stays the same.

    Only one writer may be at work in an index: the owner holds its `workshop`.

    Returns:
        the new manifest; or the old one, if nothing was worth it.
    """
    plan = {
        number: first
        for number, card in enumerate(manifest.shards)
        if (first := fold_from(card.segments)) is not None
    }
    if not plan:
        return manifest
    folder = index_dir / BUILDING / "compact"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    generation = unused_generation(index_dir, manifest.key)
    home = f"{GENERATIONS}/{generation}"
    shards = list(manifest.shards)
    for number, first in plan.items():
        shards[number] = _folded(index_dir, folder, manifest, number, first, home)
        if progress is not None:
            progress(shards[number].name)
    made = replace(manifest, generation=generation, shards=tuple(shards))
    publish(index_dir, folder, made)
    return made


def _folded(
    index_dir: Path, folder: Path, manifest: Manifest, number: int, first: int, home: str
) -> ShardCard:
    """The shard with its segments from `first` on in one."""
    card = manifest.shards[number]
    writer = SegmentWriter(folder / segment_folder(number), manifest.dims)
    try:
        for segment in card.segments[first:]:
            _copy_live(index_dir, segment, manifest.dims, writer)
        kept = card.segments[:first]
        # A shard has at least one segment, if an empty one.
        if writer.vectors or not kept:
            kept = (*kept, finish_segment(writer, index_dir, manifest, number, home))
        else:
            shutil.rmtree(writer.folder)
    finally:
        writer.close()
    return replace(card, segments=kept)


def _copy_live(index_dir: Path, card: SegmentCard, dims: int, writer: SegmentWriter) -> None:
    """Append a segment's rows that are not deleted, with their vectors."""
    segment = SegmentRows(index_dir, card)
    live = segment.live()
    dead_N = np.zeros(card.vectors, bool)
    dead_N[segment.dead_R] = True
    start = 0
    for vectors_BD in vector_blocks(index_dir / card.folder, dims):
        alive_B = np.flatnonzero(~dead_N[start : start + len(vectors_BD)])
        told = [next(live) for _ in alive_B]
        writer.extend(
            [ordinal for _, ordinal, _ in told], [row for *_, row in told], vectors_BD[alive_B]
        )
        start += len(vectors_BD)
    segment.close()
