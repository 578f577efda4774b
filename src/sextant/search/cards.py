"""Cards: what the manifest says of each file, each segment and each shard.

A shard is a list of segments, oldest first. A segment is a folder whose files never change once
they are published; what was deleted from it since is in a file of tombstones beside it, which a
later generation replaces by another.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_READ_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class FileCard:
    """One file's size and SHA-256, in hexadecimal."""

    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> FileCard:
        """The card of a file as it is on disk now."""
        digest = hashlib.sha256()
        with path.open("rb") as stream:
            while block := stream.read(_READ_BYTES):
                digest.update(block)
        return cls(bytes=path.stat().st_size, sha256=digest.hexdigest())


@dataclass(frozen=True, kw_only=True, slots=True)
class TombstoneCard:
    """The rows of a segment that are deleted: how many, of how many documents, and in which file.

    `file` is a path under the index; the file is a NumPy array of rising row numbers.
    """

    file: str
    documents: int
    vectors: int
    card: FileCard

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> TombstoneCard:
        """The card that `asdict` turned into JSON."""
        return cls(**{**value, "card": FileCard(**value["card"])})


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtraCard:
    """A folder of the owner's own files, kept as long as a generation names it."""

    folder: str
    files: dict[str, FileCard]

    @property
    def name(self) -> str:
        """What the owner calls it: the folder's own name."""
        return self.folder.rpartition("/")[2]

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ExtraCard:
        """The card that `asdict` turned into JSON."""
        return cls(
            folder=value["folder"],
            files={name: FileCard(**card) for name, card in value["files"].items()},
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentCard:
    """One segment: its folder under the index, what is in it, and its files' checksums.

    `documents` and `vectors` count what was written, deleted or not. `faiss` is the factory key of
    its own index, `tuned` the effort of its searches, and `recall` the recall@10 against exact
    search that was measured when they were tuned. `about` is what the segment's parts want
    remembered.
    """

    folder: str
    documents: int
    vectors: int
    faiss: str
    recall: float
    files: dict[str, FileCard]
    dead: TombstoneCard | None = None
    tuned: dict[str, int] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def live_documents(self) -> int:
        """Documents that are not deleted."""
        return self.documents - (self.dead.documents if self.dead else 0)

    @property
    def live_vectors(self) -> int:
        """Vectors that are not deleted."""
        return self.vectors - (self.dead.vectors if self.dead else 0)

    @property
    def bytes(self) -> int:
        """What the segment and its tombstones take on disk."""
        own = sum(card.bytes for card in self.files.values())
        return own + (self.dead.card.bytes if self.dead else 0)

    @property
    def paths(self) -> tuple[str, ...]:
        """What it needs, as paths under the index: its folder and its tombstones."""
        return (self.folder, self.dead.file) if self.dead else (self.folder,)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> SegmentCard:
        """The card that `asdict` turned into JSON."""
        files = {name: FileCard(**card) for name, card in value["files"].items()}
        dead = TombstoneCard.from_json(value["dead"]) if value["dead"] else None
        return cls(**{**value, "files": files, "dead": dead})


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardCard:
    """One shard: its name, its vector space, and its segments, oldest first."""

    name: str
    dims: int
    space: str
    segments: tuple[SegmentCard, ...]

    @property
    def documents(self) -> int:
        """Documents that can be found in it."""
        return sum(segment.live_documents for segment in self.segments)

    @property
    def vectors(self) -> int:
        """Vectors that can be found in it."""
        return sum(segment.live_vectors for segment in self.segments)

    @property
    def bytes(self) -> int:
        """What it takes on disk."""
        return sum(segment.bytes for segment in self.segments)

    def file_bytes(self, name: str) -> int:
        """What the files of this name take in all its segments."""
        return sum(segment.files[name].bytes for segment in self.segments if name in segment.files)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ShardCard:
        """The card that `asdict` turned into JSON."""
        segments = tuple(SegmentCard.from_json(segment) for segment in value["segments"])
        return cls(**{**value, "segments": segments})
