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

    Args:
        rank: which one, of so many `ranks`.
        stall_s: the longest wait.
        host: the address of this computer by which the others of the fleet reach it.
    """

    def __init__(self, rank: int, ranks: int, stall_s: float, host: str = LOOPBACK) -> None:
        self.rank, self.ranks, self.host = rank, ranks, host
        self._patience = timedelta(seconds=stall_s)
        self._store: Any = None

    def open(self) -> dict[str, Any]:
        """Hosts a store; tells where."""
        import torch.distributed as dist

        self.leave()
        self._store = dist.TCPStore(
            self.host, 0, is_master=True, wait_for_workers=False, timeout=self._patience
        )
        return {"host": self.host, "port": self._store.port}

    def join(self, epoch: int, host: str, port: int, backend: str = "gloo") -> None:
        """Forms the default group of an epoch.

        Raises:
            EngineError: not all came in time.
        """
        import torch.distributed as dist

        self.leave()
        if (interface := _interface(self.host)) is not None:
            # Otherwise gloo looks the computer's name up, which may lead to another one.
            os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
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


def _interface(address: str) -> str | None:
    """The name of this computer's interface that has an address."""
    import psutil

    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address == address for one in addresses):
            return str(name)
    return None


def is_of_a_link(error: Exception) -> bool:
    """Whether it says that another rank is gone or silent, and not what is wrong with this one."""
    if isinstance(error, OSError) and error.filename is not None:
        return False
    words = ("gloo", "onnection", "imed out")
    kinds = [kind.__name__ for kind in type(error).__mro__]
    return "DistError" in kinds or any(word in str(error) for word in words)


def first_words(error: Exception) -> str:
    """What torch says first, without the place in its sources."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rpartition("] ")[2].partition(". ")[0][:200]
