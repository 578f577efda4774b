"""The machines of a fleet: where processes are started, looked at and ended.

This one machine needs no engine for that (`Here`); several are a Ray cluster (`ray_cluster`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sextant.errors import InfeasibleError
from sextant.fleet.member import MemberSpec
from sextant.fleet.office import Office
from sextant.fleet.orders import Orders
from sextant.fleet.placement import Node
from sextant.fleet.processes import send_signal
from sextant.fleet.spawn import spawn
from sextant.units import show

HERE, LOOPBACK = "here", "127.0.0.1"
_LAST_WORDS = 2000
_REAPED_WITHIN_S = 1.0


class End(NamedTuple):
    """A process that this one started has ended."""

    name: str
    epoch: int
    why: str


class Cluster(ABC):
    """The machines, as one process of the fleet sees them.

    Attributes:
        here: the node of this process.
    """

    here: Node

    @abstractmethod
    def nodes(self) -> Sequence[Node]:
        """The nodes that live, `here` among them; does not wait."""

    @abstractmethod
    def reserve(self, specs: Sequence[MemberSpec]) -> Mapping[str, str]:
        """Sets aside what members need; returns the node of each that has to be on a certain one.

        Raises:
            InfeasibleError: there is no room for them.
        """

    @abstractmethod
    def start(self, node: Node, orders: Orders, env: Mapping[str, str]) -> None:
        """Starts a process without waiting for it."""

    @abstractmethod
    def ends(self) -> Sequence[End]:
        """The processes started here that ended since the last call; does not wait."""

    @abstractmethod
    def kill(self, name: str, epoch: int, node: str | None, pid: int | None) -> None:
        """Ends a process at once, wherever it is; does not wait for its end."""

    @abstractmethod
    def on_node(
        self, node: str, call: Callable[..., Any], *arguments: Any, timeout_s: float
    ) -> Any:
        """Runs a function on a node and returns what it returns.

        Raises:
            EngineError: the node did not answer in time.
        """

    @abstractmethod
    def close(self) -> None:
        """Lets go of the machines."""


class Children:
    """The processes that this one started on this machine."""

    def __init__(self, logs: Path | None = None) -> None:
        self._logs = logs
        self._processes: dict[tuple[str, int], subprocess.Popen[bytes]] = {}

    def start(self, orders: Orders, env: Mapping[str, str]) -> None:
        """Starts one."""
        log = self._log(orders.name, orders.epoch)
        process = spawn(orders.pack(), orders.name, env, log, detach=False)
        self._processes[orders.name, orders.epoch] = process

    def ends(self) -> list[End]:
        """Those that ended since the last call."""
        ended = []
        for (name, epoch), process in tuple(self._processes.items()):
            if (code := process.poll()) is not None:
                del self._processes[name, epoch]
                ended.append(End(name, epoch, self._why(name, epoch, code)))
        return ended

    def kill(self, name: str, epoch: int) -> bool:
        """Ends one at once; returns whether it was started here."""
        process = self._processes.get((name, epoch))
        if process is None:
            return False
        process.kill()
        return True

    def close(self) -> None:
        """Takes leave of those that have ended or were killed, so that none stays as a zombie."""
        for process in self._processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_REAPED_WITHIN_S)
        self._processes.clear()

    def _log(self, name: str, epoch: int) -> Path | None:
        return self._logs and self._logs / f"{name.replace('/', '-')}.{epoch}.log"

    def _why(self, name: str, epoch: int, code: int) -> str:
        if code == 0:
            return "left"
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"killed by {signal.Signals(-code).name}"
        log, words = self._log(name, epoch), ""
        if log is not None:
            with contextlib.suppress(OSError, IndexError):
                words = f": {log.read_text(errors='replace')[-_LAST_WORDS:].splitlines()[-1]}"
        return f"ended with exit code {code}{words}"


class Here(Cluster):
    """This one machine, with nothing but the operating system.

    Args:
        office: what holds the fleet's processes together, for those who may keep it.
        cpus: cores that members may set aside.
    """

    def __init__(self, office: Office | None, cpus: float | None = None) -> None:
        self.here = Node(HERE, LOOPBACK)
        self._office = office
        self._cpus = cpus
        self._children = Children(office.logs if office else None)

    def nodes(self) -> Sequence[Node]:
        """This one."""
        return (self.here,)

    def reserve(self, specs: Sequence[MemberSpec]) -> Mapping[str, str]:
        """Checks that there is room; the operating system sets nothing aside.

        Raises:
            InfeasibleError: members ask for more cores or memory than there is.
        """
        cpus, memory = sum(s.cpus for s in specs), sum(s.memory_bytes or 0 for s in specs)
        most_cpus = self._cpus if self._cpus is not None else os.cpu_count() or 1
        if cpus > most_cpus:
            raise InfeasibleError(f"members ask for {cpus:g} cores of {most_cpus:g}")
        most = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if memory > most:
            raise InfeasibleError(f"members ask for {show(memory, 'B')} of {show(most, 'B')}")
        return {}

    def start(self, node: Node, orders: Orders, env: Mapping[str, str]) -> None:  # noqa: ARG002
        """Starts a process here."""
        self._children.start(orders, {**env, **(self._office.env if self._office else {})})

    def ends(self) -> Sequence[End]:
        """Those that ended since the last call."""
        return self._children.ends()

    def kill(self, name: str, epoch: int, node: str | None, pid: int | None) -> None:  # noqa: ARG002
        """Ends a process of this machine, whoever started it."""
        if not self._children.kill(name, epoch) and pid is not None:
            send_signal(pid, signal.SIGKILL)

    def on_node(
        self,
        node: str,  # noqa: ARG002
        call: Callable[..., Any],
        *arguments: Any,
        timeout_s: float,  # noqa: ARG002
    ) -> Any:
        """Calls it."""
        return call(*arguments)

    def close(self) -> None:
        """Lets go of the office; the last keeper to do so leaves nothing behind."""
        if self._office is not None:
            self._office.close()
        self._children.close()
