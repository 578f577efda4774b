"""An index served by vectors: its shards and replicas behind a door.

It needs no model and fetches no rows: what asks has vectors and wants ordinals. Questions in words
are the business of a system on top.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sextant.fleet import Fleet
from sextant.fleet.address import is_loopback
from sextant.search import shard_door
from sextant.search.door import Door
from sextant.search.generations import lease
from sextant.search.local import Gang
from sextant.search.manifest import Manifest
from sextant.search.nearest import Nearest
from sextant.search.service import open_local, open_on_fleet

_READY_S = 300.0
_END_S = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """Where an index is served."""

    port: int


@contextmanager
def served(
    index_dir: Path,
    fleet: Fleet | None = None,
    *,
    replicas: int = 1,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str = "",
    groups: tuple[str, ...] | None = (),
) -> Iterator[Served]:
    """The index in `index_dir`, served at a door while the block runs.

    With a fleet each shard is so many processes, and as many batches are searched side by side;
    without one it is a thread here. The one shard of an index that only this machine reaches has
    the door in its own processes (`shard_door`).

    Args:
        index_dir: a published index; the generation that is current now is served.
        fleet: a started fleet.
        replicas: processes a shard.
        host: see `Door`.
        port: see `Door`.
        token: see `Door`.
        groups: what all who come through the door may read: without any what everybody may, None
            all.

    Raises:
        InputError: there is no index, no shard can be opened, or the door cannot be had.
        EngineError: not one shard serves in time.
    """
    with closing(lease(index_dir)) as leased:
        manifest = leased.manifest
        alone = len(manifest.shards) == 1 and is_loopback(host) and not token
        if fleet is not None and fleet.founded and alone:
            with shard_door.opened(
                index_dir,
                manifest,
                fleet,
                replicas=replicas,
                host=host,
                port=port,
                groups=groups,
                ready_s=_READY_S,
            ) as number:
                yield Served(port=number)
            return
        with closing(_shards(index_dir, manifest, fleet, replicas)) as gang:
            door = Door(
                Nearest(manifest, gang, groups).search,
                dims=manifest.dims,
                about={"space": manifest.space, "vectors": manifest.vectors},
                host=host,
                port=port,
                token=token,
                at_once=replicas,
            )
            with running(door):
                yield Served(port=door.port)


def _shards(index_dir: Path, manifest: Manifest, fleet: Fleet | None, replicas: int) -> Gang:
    """The shards as processes of a fleet, or as threads here."""
    if fleet is None:
        return open_local(index_dir, manifest)
    return open_on_fleet(index_dir, manifest, fleet, replicas=replicas, ready_s=_READY_S)


@contextmanager
def running(door: Door) -> Iterator[Door]:
    """A door that serves on a thread of this process while the block runs."""
    thread = threading.Thread(target=door.run, name="door", daemon=True)
    thread.start()
    try:
        yield door
    finally:
        door.stop()
        thread.join(_END_S)
