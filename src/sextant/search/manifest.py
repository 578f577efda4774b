"""What an index says of itself: `manifest.json`, the one file that makes an index current.

DIR/manifest.json                       replaced atomically; names the generation that is current
DIR/manifests/<generation>.json         the same of each generation that is current or served
DIR/generations/<generation>/shard-000/ a segment that this generation added; never changed
DIR/generations/<generation>/dead-...   rows that this generation deleted from older segments
DIR/building/                           work in progress; readers never look here
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sextant.errors import InputError
from sextant.search.cards import ExtraCard, SegmentCard, ShardCard

FORMAT = "sextant-index/2"
MANIFEST = "manifest.json"
WANTED_RECALL = 0.95
"""The recall@10 that searches of an index are tuned to where nobody asks for another."""
MANIFESTS = "manifests"
_BUILD_AGAIN = "sextant rag index --corpus PATH --out DIR"


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """One generation of an index.

    `space` names the vector space (a model's fingerprint): vectors of another space are refused.
    `key` identifies the build, so that building the same again is seen to be done already.
    `next_ordinal` is the first that no row has had. Searches are tuned to `wanted_recall`; where
    codes are refined by raw vectors, `raw_mapped` says whether these are mapped or read each time.
    `about` (model, chunking) and `extras` (files) are for the owner of the index; search does not
    read them.
    """

    generation: str
    key: str
    space: str
    dims: int
    faiss: str
    next_ordinal: int
    shards: tuple[ShardCard, ...]
    extras: tuple[ExtraCard, ...] = ()
    wanted_recall: float = WANTED_RECALL
    raw_mapped: bool = True
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def documents(self) -> int:
        """Documents that can be found."""
        return sum(shard.documents for shard in self.shards)

    @property
    def vectors(self) -> int:
        """Vectors that can be found."""
        return sum(shard.vectors for shard in self.shards)

    @property
    def bytes(self) -> int:
        """What all shards and the owner's own files take on disk."""
        extras = sum(card.bytes for extra in self.extras for card in extra.files.values())
        return extras + sum(shard.bytes for shard in self.shards)

    @property
    def index_recall(self) -> float:
        """Recall@10 of the Faiss indexes against exact search (1.0 for Flat), by their vectors."""
        vectors = sum(segment.live_vectors for segment in self.segments())
        if not vectors:
            return 1.0
        return sum(one.recall * one.live_vectors for one in self.segments()) / vectors

    def segments(self) -> Iterator[SegmentCard]:
        """The segments of all shards."""
        for shard in self.shards:
            yield from shard.segments

    def paths(self) -> set[str]:
        """What it needs, as paths under the index."""
        needed = {path for segment in self.segments() for path in segment.paths}
        return needed | {extra.folder for extra in self.extras}

    def write(self, index_dir: Path) -> None:
        """Make this manifest the current one: a reader sees the old index or the new, never a
        mixture.
        """
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n"
        folder = index_dir / MANIFESTS
        folder.mkdir(exist_ok=True)
        # The generation's own copy first: whoever reads that it is current finds it there.
        for path in (folder / f"{self.generation}.json", index_dir / MANIFEST):
            temporary = path.with_suffix(".json.new")
            with temporary.open("w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
            sync_directory(path.parent)

    @classmethod
    def read(cls, index_dir: Path, generation: str | None = None) -> Manifest:
        """The manifest of the current generation of the index in `index_dir`, or of another.

        Raises:
            InputError: there is no index, or its manifest is damaged or of another format.
        """
        path = index_dir / MANIFEST
        if generation is not None:
            path = index_dir / MANIFESTS / f"{generation}.json"
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            what = "no index here" if generation is None else f"generation {generation} is gone"
            raise InputError(what, where=str(index_dir), hint=_BUILD_AGAIN) from None
        except (OSError, ValueError) as error:
            raise InputError(
                f"unreadable manifest: {error}", where=str(path), hint=_BUILD_AGAIN
            ) from error
        found = value.pop("format", None) if isinstance(value, dict) else None
        if found != FORMAT:
            raise InputError(
                f"not an index of format {FORMAT}" + (f", but {found}" if found else ""),
                where=str(path),
                hint=f"build it again: {_BUILD_AGAIN}",
            )
        try:
            shards = tuple(ShardCard.from_json(shard) for shard in value.pop("shards"))
            extras = tuple(ExtraCard.from_json(extra) for extra in value.pop("extras"))
            return cls(shards=shards, extras=extras, **value)
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"damaged manifest: {error}", where=str(path), hint=_BUILD_AGAIN
            ) from error


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable, as `fsync` of a file does not."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
