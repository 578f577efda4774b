"""Opening a published index: the members that serve its shards, on a fleet or in this process."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from sextant.errors import InputError
from sextant.fleet import MemberSpec
from sextant.search.engine import is_exact
from sextant.search.local import LocalGang
from sextant.search.manifest import Manifest


def shard_specs(index_dir: Path, manifest: Manifest) -> list[MemberSpec]:
    """One member a shard, told everything that it needs, so that it can be started on its own."""
    return [
        MemberSpec(
            name=card.name,
            factory="sextant.search.shard:ShardMember",
            arguments={
                "folder": str((index_dir / card.folder).resolve()),
                "card": asdict(card),
                "exact": is_exact(manifest.faiss),
            },
        )
        for card in manifest.shards
    ]


def open_local(index_dir: Path, manifest: Manifest) -> LocalGang:
    """The shards as threads of this process.

    Raises:
        InputError: not one shard could be opened.
    """
    gang = LocalGang(shard_specs(index_dir, manifest))
    if len(gang.refused) == len(manifest.shards):
        raise InputError("; ".join(f"{name}: {why}" for name, why in gang.refused.items()))
    return gang
