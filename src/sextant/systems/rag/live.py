"""A service that goes with its index: documents come and go, the model changes, no question fails.

Each question is answered from one generation: its manifest, its model and its shards belong
together (a `Service`). A thread watches the manifest. When another generation is published it is
opened beside the one that serves; once every shard has it, new questions go to it, and the old one
is let go when its last question is answered. Where the new one cannot be opened, the old one serves
on, and `trouble` says why.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from sextant.errors import InputError, SextantError
from sextant.fleet import Fleet
from sextant.search.generations import Lease, lease
from sextant.search.local import Gang, LocalGang
from sextant.search.manifest import MANIFEST, Manifest
from sextant.search.member import LET_GO_AFTER_S
from sextant.search.opening import open_generation
from sextant.search.renamed import Renamed
from sextant.search.service import open_local, open_on_fleet
from sextant.systems.rag.embed import Embedder, Floats
from sextant.systems.rag.remembered import embedder_of
from sextant.systems.rag.service import Result, Service

WATCH_S = 0.25
"""How often the manifest is looked at: a `stat`, some microseconds."""
_PATIENCE_S = 10.0
_AGAIN_S = 5.0
_READY_S = 120.0
Stamp = tuple[int, int, int]


def role_of(manifest: Manifest) -> str:
    """The role of the shards of an index that needs others than those that serve."""
    return f"shard-of-{len(manifest.shards)}"


class _Users:
    """One generation's service, and how many questions it is answering."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.num = 0


class LiveService:
    """Answers from the newest generation of an index that is ready; a context manager.

    Args:
        index_dir: the index.
        service: the generation to begin with, open.
        fleet: where shards are processes.
        replicas: processes a shard.
        embedder_for: opens the model of a generation that has another one than before.
        watch_s: how often to look for another generation.
    """

    def __init__(
        self,
        index_dir: Path,
        service: Service,
        *,
        fleet: Fleet | None = None,
        replicas: int = 1,
        embedder_for: Callable[[Manifest], Embedder] = embedder_of,
        watch_s: float = WATCH_S,
    ) -> None:
        self.trouble = ""
        self._dir = index_dir
        self._fleet = fleet
        self._replicas = replicas
        self._embedder_for = embedder_for
        self._watch_s = watch_s
        self._current = _Users(service)
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="rag-follow", daemon=True)
        self._thread.start()

    @property
    def manifest(self) -> Manifest:
        """The generation that new questions are answered from."""
        return self._current.service.manifest

    @property
    def embedder(self) -> Embedder:
        """The model of that generation."""
        return self._current.service.embedder

    @property
    def gang(self) -> Gang:
        """The shards of that generation."""
        return self._current.service.gang

    @contextmanager
    def service(self) -> Iterator[Service]:
        """The service of the current generation, which stays open until the block ends.

        For whoever needs several answers of one generation, or its model and shards together.
        """
        with self._lock:
            users = self._current
            users.num += 1
        try:
            yield users.service
        finally:
            with self._lock:
                users.num -= 1
                self._idle.notify_all()

    def search(self, question: str | Floats, **how: Any) -> Result:
        """See `Service.search`."""
        with self.service() as service:
            return service.search(question, **how)

    def ask(self, question: str, **how: Any) -> Result:
        """See `Service.ask`."""
        with self.service() as service:
            return service.ask(question, **how)

    def warm(self) -> None:
        """See `Service.warm`."""
        with self.service() as service:
            service.warm()

    def close(self) -> None:
        """End the watching and the service."""
        self._closing.set()
        self._thread.join(2 * _PATIENCE_S)
        self._current.service.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _follow(self) -> None:
        """Look for other generations until it is closed."""
        seen, wait_s, tidy_s = self._stamp(), self._watch_s, math.inf
        # A generation may have come between opening and the first look.
        due = self._changed()
        while True:
            if due and not self._closing.is_set():
                due = not self._switch()
                wait_s = _AGAIN_S if due else self._watch_s
                tidy_s = time.monotonic() + LET_GO_AFTER_S + 1.0
            if self._closing.wait(wait_s):
                return
            if (stamp := self._stamp()) != seen:
                seen, due = stamp, True
            if time.monotonic() > tidy_s:
                # A shard lets an old generation go when it is spoken to, if only to hear this.
                open_generation(self.gang, self.manifest.generation, 0.0, self._closing.wait)
                tidy_s = math.inf

    def _switch(self) -> bool:
        """Go over to the newest generation; whether there is no reason to try again."""
        try:
            leased = lease(self._dir)
        except SextantError as error:
            self.trouble = str(error)
            return False
        old = self._current.service
        if leased.manifest.generation == old.manifest.generation:
            leased.close()
            self.trouble = ""
            return True
        try:
            new = self._opened(old, leased)
        except Exception as error:  # noqa: BLE001
            # Whatever is wrong with the new one: the old one serves on.
            leased.close()
            self.trouble = str(error) or type(error).__name__
            return False
        if new is None:
            leased.close()
            return True
        self._replace(new)
        self.trouble = ""
        return True

    def _opened(self, old: Service, leased: Lease) -> Service | None:
        """The service over a new generation, every shard ready; None when closed meanwhile."""
        manifest = leased.manifest
        embedder = old.embedder
        if manifest.space != old.manifest.space:
            embedder = self._embedder_for(manifest)
        gang = self._gang_for(manifest, old)
        try:
            new = old.renewed(leased, gang, embedder)
            if embedder is not old.embedder:
                new.warm()
            if (
                not open_generation(gang, manifest.generation, _PATIENCE_S, self._closing.wait)
                and not self._closing.is_set()
            ):
                raise InputError(f"no shard answers for generation {manifest.generation}")
        except BaseException:
            if gang is not old.gang:
                gang.close()
            raise
        if self._closing.is_set():
            if gang is not old.gang:
                gang.close()
            return None
        return new

    def _gang_for(self, manifest: Manifest, old: Service) -> Gang:
        """The gang that serves already, if it has the same shards; else another beside it."""
        same = [one.name for one in manifest.shards] == [one.name for one in old.manifest.shards]
        refused = isinstance(old.gang, LocalGang) and old.gang.refused
        if same and not refused:
            return old.gang
        if self._fleet is None:
            return open_local(self._dir, manifest)
        gang = open_on_fleet(
            self._dir,
            manifest,
            self._fleet,
            replicas=self._replicas,
            ready_s=_READY_S,
            role=role_of(manifest),
        )
        return Renamed(gang, "shard")

    def _replace(self, new: Service) -> None:
        """Send new questions to another generation, and let the old one go when it is idle."""
        with self._lock:
            old, self._current = self._current, _Users(new)
            while old.num and not self._closing.is_set():
                self._idle.wait(self._watch_s)
        old.service.close(keep_gang=old.service.gang is new.gang)

    def _changed(self) -> bool:
        try:
            return Manifest.read(self._dir).generation != self.manifest.generation
        except InputError:
            return False

    def _stamp(self) -> Stamp | None:
        """What tells one manifest file from another."""
        try:
            status = (self._dir / MANIFEST).stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size
