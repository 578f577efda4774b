"""How the ranks of a gang find one another: at a store of rank 0, anew in every epoch."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from sextant.errors import EngineError

LOOPBACK = "127.0.0.1"


class Meeting:
    """One rank's side of it; the driver asks rank 0 to `open`, then all to `join`.

    Every wait is bounded by `stall_s`. A group whose rank was lost is left by joining the next.
    """

    def __init__(self, rank: int, ranks: int, stall_s: float) -> None:
        self.rank, self.ranks = rank, ranks
        self._patience = timedelta(seconds=stall_s)
        self._store: Any = None

    def open(self) -> dict[str, Any]:
        """Hosts a store; tells where."""
        import torch.distributed as dist

        self.leave()
        host = address()
        if host == LOOPBACK:
            # Otherwise gloo looks the host's name up, which may lead to another interface.
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        self._store = dist.TCPStore(
            host, 0, is_master=True, wait_for_workers=False, timeout=self._patience
        )
        return {"host": host, "port": self._store.port}

    def join(self, epoch: int, host: str, port: int, backend: str = "gloo") -> None:
        """Forms the default group of an epoch.

        Raises:
            EngineError: not all came in time.
        """
        import torch.distributed as dist

        self.leave()
        if host == LOOPBACK:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        try:
            if self.rank != 0:
                self._store = dist.TCPStore(host, port, is_master=False, timeout=self._patience)
            dist.init_process_group(
                backend,
                store=dist.PrefixStore(str(epoch), self._store),
                rank=self.rank,
                world_size=self.ranks,
                timeout=self._patience,
            )
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"the ranks did not meet: {first_words(error)}") from None

    def leave(self) -> None:
        """Lets go of the group that there was, if there was one."""
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()


def address() -> str:
    """The address of this host by which the others of the fleet reach it."""
    try:
        import ray
    except ImportError:
        return LOOPBACK
    found: str = ray.util.get_node_ip_address() if ray.is_initialized() else LOOPBACK
    return found


def first_words(error: Exception) -> str:
    """What torch says first, without the place in its sources."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rpartition("] ")[2].partition(". ")[0][:200]
