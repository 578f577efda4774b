"""Opening a published index: the members that serve its shards, on a fleet or in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sextant.errors import InputError
from sextant.fleet import BarrierError, Fleet, Gang, MemberSpec, MemberState
from sextant.search.local import LocalGang
from sextant.search.manifest import Manifest
from sextant.search.verify import MEND

_ROLE = "shard"


def shard_specs(index_dir: Path, manifest: Manifest, role: str = _ROLE) -> list[MemberSpec]:
    """One member a shard, told everything that it needs, so that it can be started on its own."""
    return [
        MemberSpec(
            name=f"{role}/{card.name.partition('/')[2]}",
            factory="sextant.search.member:ShardMember",
            arguments={
                "index_dir": str(index_dir.resolve()),
                "shard": card.name,
                "generation": manifest.generation,
            },
        )
        for card in manifest.shards
    ]


def open_on_fleet(
    index_dir: Path,
    manifest: Manifest,
    fleet: Fleet,
    *,
    replicas: int,
    ready_s: float,
    progress: Callable[[int, int], None] | None = None,
    role: str = _ROLE,
) -> Gang:
    """The shards as processes of a fleet, each so many times; on a fleet that this process has only
    attached to, those that run there.

    A role other than the usual one is for a gang beside one that has it; its members have the
    names of that role.

    Raises:
        EngineError: not one shard serves by then.
    """
    if fleet.founded:
        gang = fleet.gang(role, shard_specs(index_dir, manifest, role), replicas)
    else:
        gang = fleet.find(role, ready_s)
    try:
        gang.ready(ready_s, progress)
    except BarrierError:
        if MemberState.UP not in gang.states().values():
            gang.close()
            raise
    except BaseException:
        gang.close()
        raise
    return gang


def open_local(index_dir: Path, manifest: Manifest) -> LocalGang:
    """The shards as threads of this process.

    Raises:
        InputError: not one shard could be opened.
    """
    gang = LocalGang(shard_specs(index_dir, manifest))
    if len(gang.refused) == len(manifest.shards):
        gang.close()
        why = "; ".join(f"{name}: {why}" for name, why in gang.refused.items())
        raise InputError(f"no shard can be opened: {why}", where=str(index_dir), hint=MEND)
    return gang
