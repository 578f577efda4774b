"""A shard that is the whole index and answers at a door of its own: no router, no second hop.

Every replica listens on the same port, and the system spreads the connections over them. One that
dies takes its connections along, and whoever connects again reaches another; nobody is asked twice,
so a replica that stalls holds its own callers up.

Shape suffixes: Q queries, D dimensions.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sextant.errors import InputError
from sextant.fleet import Deadline, Fleet, MemberSpec
from sextant.search.door import Door
from sextant.search.manifest import Manifest
from sextant.search.member import ShardMember
from sextant.search.nearest import Near
from sextant.search.wire import Floats, Request

ROLE = "shard"
_END_S = 10.0


class DoorMember(ShardMember):
    """A shard server that vector queries also reach directly, over a port that replicas share.

    Args:
        index_dir: see `ShardMember`.
        shard: see `ShardMember`.
        generation: see `ShardMember`.
        host: of this machine alone.
        port: of the door.
        groups: see `served`.
    """

    def __init__(
        self,
        index_dir: str,
        shard: str,
        generation: str,
        host: str,
        port: int,
        groups: list[str] | None,
    ) -> None:
        super().__init__(index_dir, shard, generation)
        self._host, self._port = host, port
        self._groups = None if groups is None else tuple(groups)
        self._door: Door | None = None
        self._thread: threading.Thread | None = None

    def warm(self) -> None:
        """Open the shard, then the door.

        Raises:
            InputError: the shard is torn or corrupt, or the door cannot be had.
        """
        super().warm()
        card = self.newest().card
        self._door = Door(
            self._nearest,
            dims=card.dims,
            about={"space": card.space, "vectors": card.vectors},
            host=self._host,
            port=self._port,
            at_once=0,
            shared=True,
        )
        self._thread = threading.Thread(target=self._door.run, name="door", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close the door, and let go of the files."""
        if self._door is not None and self._thread is not None:
            self._door.stop()
            self._thread.join(_END_S)
        super().close()

    def _nearest(self, queries_QD: Floats, k: int, deadline: Deadline) -> Near:  # noqa: ARG002
        shard = self.newest()
        request = Request(
            space=shard.card.space,
            queries_QD=queries_QD,
            k=k,
            groups=self._groups,
            with_rows=False,
        )
        reply = shard.search(request)
        return Near(scores_QK=reply.scores_QK, ordinals_QK=reply.ordinals_QK, coverage=1.0)


@contextmanager
def opened(
    index_dir: Path,
    manifest: Manifest,
    fleet: Fleet,
    *,
    replicas: int,
    host: str,
    port: int,
    groups: tuple[str, ...] | None,
    ready_s: float,
) -> Iterator[int]:
    """The one shard of an index in so many processes, all at one port, while the block runs.

    Yields:
        the port.

    Raises:
        InputError: the port cannot be had, or the index has several shards.
        EngineError: not all replicas serve by then.
    """
    if len(manifest.shards) != 1:
        raise InputError("only an index of one shard has doors in its shard")
    # Bound and not listening: nobody else takes the port, and no connection comes here.
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            held.bind((host, port))
        except OSError as error:
            raise InputError(f"cannot listen on {host}:{port}: {error.strerror}") from error
        number = int(held.getsockname()[1])
        spec = MemberSpec(
            name=f"{ROLE}/{manifest.shards[0].name.partition('/')[2]}",
            factory="sextant.search.shard_door:DoorMember",
            arguments={
                "index_dir": str(index_dir.resolve()),
                "shard": manifest.shards[0].name,
                "generation": manifest.generation,
                "host": host,
                "port": number,
                "groups": None if groups is None else list(groups),
            },
        )
        gang = fleet.gang(ROLE, [spec], replicas)
        try:
            gang.ready(ready_s)
            yield number
        finally:
            gang.close()
