"""Which shard a document lives in: a hash of its id, the same on every machine and in every run."""

from __future__ import annotations

import hashlib


def shard_of(document: str, num_shards: int) -> int:
    """The shard, in [0, num_shards), of the document with this id.

    All rows of a document share a shard, so deleting or replacing it touches one. BLAKE2 and not
    Python's `hash`, which changes with every process.
    """
    digest = hashlib.blake2b(document.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % num_shards


def shard_name(number: int) -> str:
    """The member's name of a shard, as hits, drills and missing lists show it."""
    return f"shard/{number}"
