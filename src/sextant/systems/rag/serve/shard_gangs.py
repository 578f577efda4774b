"""The gangs of shards that a fleet's founder runs for its routers, whatever number of shards the
index comes to have.

A change of documents is opened by the shards that serve already. An index that was built again with
another number of shards needs others beside them, and only the process that founded the fleet can
start those; the routers wait for them, go over, and the old ones end.
"""

from __future__ import annotations

import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Self

from sextant.errors import SextantError
from sextant.fleet import Fleet, Gang
from sextant.search.generations import Lease, lease
from sextant.search.service import open_on_fleet
from sextant.systems.rag.live import WATCH_S, role_of
from sextant.systems.rag.serve.journal import Journal

_LET_GO_AFTER_S = 30.0
"""By then every router has gone over, and has answered what it was asked before."""
_FORGOTTEN_S = 2.0
"""Until every router has heard that a gang has ended."""
_STOPPED_WITHIN_S = 5.0


class ShardGangs:
    """Keeps a gang for the index as it is; a context manager.

    Args:
        index_dir: the index.
        fleet: founded by this process.
        replicas: processes a shard.
        ready_s: how long to wait for new ones.
        journal: where changes are written.
        let_go_s: how long old shards are kept after new ones serve.
    """

    def __init__(
        self,
        index_dir: Path,
        fleet: Fleet,
        *,
        replicas: int,
        ready_s: float,
        journal: Journal,
        let_go_s: float = _LET_GO_AFTER_S,
    ) -> None:
        self._dir = index_dir
        self._fleet = fleet
        self._replicas = replicas
        self._ready_s = ready_s
        self._journal = journal
        self._let_go_s = let_go_s
        self._gangs: dict[str, Gang] = {}
        self._idle_since_s: dict[str, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="shard-gangs", daemon=True)
        with closing(lease(index_dir)) as leased:
            self._shards = len(leased.manifest.shards)
            self._open("shard", leased)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(_STOPPED_WITHIN_S)

    def _open(self, role: str, leased: Lease) -> None:
        self._gangs[role] = open_on_fleet(
            self._dir,
            leased.manifest,
            self._fleet,
            replicas=self._replicas,
            ready_s=self._ready_s,
            role=role,
        )
        self._idle_since_s = dict.fromkeys(self._gangs.keys() - {role}, time.monotonic())

    def _follow(self) -> None:
        while not self._over.wait(WATCH_S):
            try:
                with closing(lease(self._dir)) as leased:
                    self._go_with(leased)
            except SextantError as error:
                # What serves goes on serving; the next look may find it mended.
                self._journal.line("trouble", why=str(error))
                self._over.wait(self._ready_s / 10)
            self._end_idle()

    def _go_with(self, leased: Lease) -> None:
        """Start the shards of a generation, if it has another number of them."""
        role, shards = role_of(leased.manifest), len(leased.manifest.shards)
        if shards == self._shards:
            return
        if role in self._gangs:
            # It served before, and the routers have let go of it: only a new one is asked again.
            self._gangs.pop(role).close()
            self._over.wait(_FORGOTTEN_S)
        self._open(role, leased)
        self._shards = shards
        self._journal.line("shards", role=role, generation=leased.manifest.generation)

    def _end_idle(self) -> None:
        for role, since_s in tuple(self._idle_since_s.items()):
            if time.monotonic() - since_s > self._let_go_s:
                del self._idle_since_s[role]
                if (gang := self._gangs.pop(role, None)) is not None:
                    gang.close()
