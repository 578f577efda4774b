"""What an index says of itself: `manifest.json`, the one file that makes an index current.

DIR/manifest.json                          replaced atomically; names the generation that is current
DIR/generations/<id>/shard-000/...         the files of one shard; never changed once published
DIR/building/                              work in progress; readers never look here
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sextant.errors import InputError

FORMAT = "sextant-index/1"
MANIFEST = "manifest.json"
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
class ShardCard:
    """One shard: its name, its folder under the index, what is in it, and its files' checksums."""

    name: str
    folder: str
    documents: int
    vectors: int
    dims: int
    space: str
    files: dict[str, FileCard]

    @property
    def bytes(self) -> int:
        """What the shard takes on disk."""
        return sum(card.bytes for card in self.files.values())

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ShardCard:
        """The card that `asdict` turned into JSON."""
        files = {name: FileCard(**card) for name, card in value["files"].items()}
        return cls(**{**value, "files": files})


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """A published index.

    `space` names the vector space (a model's fingerprint): vectors of another space are refused.
    `key` identifies the build, so that building the same again is seen to be done already.
    `index_recall` is the recall@10 of the shards' own Faiss index against exact search (1.0 for
    Flat). `about` is for the owner of the index (model, chunking); search does not read it.
    """

    generation: str
    key: str
    space: str
    dims: int
    faiss: str
    documents: int
    vectors: int
    index_recall: float
    shards: tuple[ShardCard, ...]
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """What all shards take on disk."""
        return sum(shard.bytes for shard in self.shards)

    def write(self, index_dir: Path) -> None:
        """Make this manifest the current one: a reader sees the old index or the new, never a
        mixture.
        """
        path = index_dir / MANIFEST
        temporary = path.with_suffix(".json.new")
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump({"format": FORMAT, **asdict(self)}, stream, indent=1)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        sync_directory(index_dir)

    @classmethod
    def read(cls, index_dir: Path) -> Manifest:
        """The current manifest of the index in `index_dir`.

        Raises:
            InputError: there is no index, or its manifest is damaged or of another format.
        """
        path = index_dir / MANIFEST
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(
                "no index here",
                where=str(index_dir),
                hint="sextant rag index --corpus PATH --out DIR",
            ) from None
        except (OSError, ValueError) as error:
            raise InputError(f"unreadable manifest: {error}", where=str(path)) from error
        if not isinstance(value, dict) or value.pop("format", None) != FORMAT:
            raise InputError(f"not an index of format {FORMAT}", where=str(path))
        try:
            shards = tuple(ShardCard.from_json(shard) for shard in value.pop("shards"))
            return cls(shards=shards, **value)
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"damaged manifest: {error}", where=str(path)) from error


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable, as `fsync` of a file does not."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
