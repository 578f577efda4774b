"""Several machines: a Ray cluster, which places processes on them and accounts for what they take.

Ray starts a process and has no more to do with it: members live on without Ray's own processes, and
are ended and started again by the fleet's keeper. While the cluster's head is gone the keeper
starts processes on its own machine only; once it is back, on all again.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from sextant.errors import EngineError, InfeasibleError, missing_engine
from sextant.fleet.cluster import Children, Cluster, End
from sextant.fleet.door import Door
from sextant.fleet.member import MemberSpec
from sextant.fleet.orders import Orders
from sextant.fleet.placement import Node
from sextant.fleet.processes import send_signal
from sextant.fleet.spawn import spawn_detached

_JOINED_WITHIN_S = 60.0
_AGAIN_AFTER_S = 10.0
_RESERVED_WITHIN_S = 10.0
_STARTED_WITHIN_S = 20.0
"""A node that has not started a process by then has not got the order, or has no worker for it."""
_KILLED_WITHIN_S = 5.0
_CONNECTED_WITHIN_S = 1.0
_HINT = "ray start --head starts one; without an address this machine alone is used"


class RayCluster(Cluster):
    """A Ray cluster that was running before, and goes on after us. Its nodes are their addresses.

    Args:
        address: as Ray takes it (`host:port`, `auto`).
        here: the node of this process, where it is known; Ray is not joined until needed then.

    Raises:
        EngineError: there is none at that address, or Ray is not installed.
    """

    def __init__(self, address: str, here: Node | None = None) -> None:
        if find_spec("ray") is None:
            raise missing_engine("ray", "rag")
        self.address = address
        self._children = Children()
        self._ends: queue.SimpleQueue[End] = queue.SimpleQueue()
        self._door: Door | None = None
        self._opened_s = -_AGAIN_AFTER_S
        if here is None:
            if not _answers(address):
                raise EngineError(f"no Ray cluster at {address}", hint=_HINT)
            self._door = Door(address)
            here = self._door.here(_JOINED_WITHIN_S)
        self.here = here

    def nodes(self) -> Sequence[Node]:
        """The nodes that live, by Ray's last word; our own if Ray does not say."""
        door = self._open()
        known = door.nodes if door is not None else ()
        return known or (self.here,)

    def reserve(self, specs: Sequence[MemberSpec]) -> Mapping[str, str]:
        """Has Ray set cores and memory aside for as long as this process lives, spread over nodes.

        Raises:
            InfeasibleError: Ray finds no room for them.
            EngineError: Ray does not answer.
        """
        needs = {spec.name: _resources(spec) for spec in specs}
        needs = {name: resources for name, resources in needs.items() if resources}
        if not needs:
            return {}
        bundles = list(needs.values())
        reserved = self._ask("reserve", bundles, _RESERVED_WITHIN_S, within_s=_JOINED_WITHIN_S)
        if reserved is None:
            asked = ", ".join(f"{name} {resources}" for name, resources in needs.items())
            raise InfeasibleError(f"the Ray cluster has no room for {asked}")
        return dict(zip(needs, reserved, strict=True))

    def start(self, node: Node, orders: Orders, env: Mapping[str, str]) -> None:
        """Starts a process here, or by a task of Ray on another node."""
        if node == self.here:
            self._children.start(orders, env)
            return

        def there() -> None:
            try:
                arguments = [orders.pack(), dict(env)]
                self._run(node.name, spawn_detached, arguments, _STARTED_WITHIN_S)
            except EngineError as error:
                self._ends.put(End(orders.name, orders.epoch, str(error)))

        threading.Thread(target=there, daemon=True).start()

    def ends(self) -> Sequence[End]:
        """Those that ended here, and those that a node did not start."""
        ended = self._children.ends()
        while not self._ends.empty():
            ended.append(self._ends.get())
        return ended

    def kill(self, name: str, epoch: int, node: str | None, pid: int | None) -> None:
        """Ends a process; on another node as soon as Ray has a worker there."""
        if self._children.kill(name, epoch) or pid is None or node is None:
            return
        if node == self.here.name:
            send_signal(pid, signal.SIGKILL)
            return

        def there() -> None:
            # If the node is gone or cut off: should the process speak again it is told to leave.
            with contextlib.suppress(EngineError):
                self._run(node, send_signal, [pid, int(signal.SIGKILL)], _KILLED_WITHIN_S)

        threading.Thread(target=there, daemon=True).start()

    def on_node(
        self, node: str, call: Callable[..., Any], *arguments: Any, timeout_s: float
    ) -> Any:
        """Runs a function on a node and returns what it returns.

        Raises:
            EngineError: the node did not answer in time.
        """
        if node == self.here.name:
            return call(*arguments)
        return self._run(node, call, list(arguments), timeout_s)

    def close(self) -> None:
        """Lets go of Ray; members that were not told to leave live on."""
        if self._door is not None:
            self._door.close()
        self._children.close()

    def _run(
        self, node: str, call: Callable[..., Any], arguments: list[Any], timeout_s: float
    ) -> Any:
        try:
            name = f"{call.__module__}:{call.__name__}"
            return self._ask("run", node, name, arguments, within_s=timeout_s)
        except EngineError as error:
            raise EngineError(f"node {node} did not answer: {error}") from error

    def _ask(self, what: str, *arguments: Any, within_s: float) -> Any:
        door = self._open()
        if door is None:
            raise EngineError(f"no Ray cluster at {self.address}", hint=_HINT)
        return door.ask(what, *arguments, within_s=within_s)

    def _open(self) -> Door | None:
        """The door, opened again if it has fallen shut a while ago."""
        if self._door is not None and self._door.is_shut():
            self._door.close()
            self._door = None
        now_s = time.monotonic()
        if self._door is None and now_s - self._opened_s > _AGAIN_AFTER_S:
            self._opened_s = now_s
            if _answers(self.address):
                self._door = Door(self.address)
        return self._door


def _resources(spec: MemberSpec) -> dict[str, float]:
    asked = {"CPU": spec.cpus, "memory": float(spec.memory_bytes or 0)}
    return {name: amount for name, amount in asked.items() if amount}


def _answers(address: str) -> bool:
    """Whether something listens there; asked first, because Ray itself tries for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        return True  # a name that only Ray can resolve, such as `auto`
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECTED_WITHIN_S).close()
    except OSError:
        return False
    return True
