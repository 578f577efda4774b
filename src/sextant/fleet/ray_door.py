"""A process of its own between a fleet and Ray: it runs functions on nodes, and tells which live.

Ray ends every process that has joined a cluster a minute after the cluster's head has died, and one
that leaves it then hangs. So nobody whose life matters joins: `ray_cluster` starts this program,
talks with it through its standard input and output, and loses nothing but it.

Every message is msgpack: in `[number, what, ...]`, out `[number, error, value]`. Number 0 comes
unasked, with this node's address and those of the nodes that live.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import IO, Any, BinaryIO

from sextant.fleet import messages

_LOOKED_EVERY_S = 0.5
_QUIET_ENV = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray prints notices about dead workers on stdout even without logs; this skips every line.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def read_frame(stream: IO[bytes]) -> Any:
    """The next message, or none at the end of the stream."""
    length = stream.read(4)
    body = stream.read(int.from_bytes(length, "big")) if len(length) == 4 else b""
    return messages.unpack(body) if body else None


def write_frame(stream: IO[bytes], message: Any) -> None:
    """Writes a message."""
    body = messages.pack(message)
    stream.write(len(body).to_bytes(4, "big") + body)
    stream.flush()


class _Server:
    """Carries out what it reads, until its input ends."""

    def __init__(self, ray: Any, out: BinaryIO) -> None:
        self._ray = ray
        self._out = out
        self._lock = threading.Lock()
        self._ids: Mapping[str, str] = {}
        self._address: str = ray.util.get_node_ip_address()

    def serve(self, requests: BinaryIO) -> None:
        """Answers every request on a thread of its own: one that hangs holds up no other."""
        self._look()
        threading.Thread(target=self._watch, daemon=True).start()
        while (request := read_frame(requests)) is not None:
            threading.Thread(target=self._answer, args=(request,), daemon=True).start()

    def _answer(self, request: Sequence[Any]) -> None:
        number, what, *arguments = request
        try:
            value = getattr(self, f"_{what}")(*arguments)
        except Exception as error:  # noqa: BLE001  whatever Ray raises is the answer
            lines = str(error).strip().splitlines()
            self._say([number, lines[-1][:300] if lines else type(error).__name__, None])
        else:
            self._say([number, None, value])

    def _run(self, node: str, call: str, arguments: Sequence[Any]) -> Any:
        """Runs `module:function` on a node."""
        module, _, name = call.partition(":")
        function = getattr(importlib.import_module(module), name)
        affinity = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        strategy = affinity(self._ids[node], soft=False)
        # A start that is tried twice would be two processes of one incarnation.
        task = self._ray.remote(function).options(
            num_cpus=0, max_retries=0, scheduling_strategy=strategy
        )
        return self._ray.get(task.remote(*arguments))

    def _reserve(self, bundles: Sequence[Mapping[str, float]], within_s: float) -> list[str] | None:
        """Has bundles set aside, spread over nodes, while this process lives; none if no room."""
        util = self._ray.util
        group = util.placement_group([dict(bundle) for bundle in bundles], strategy="SPREAD")
        if not group.wait(within_s):
            util.remove_placement_group(group)
            return None
        nodes: Mapping[int, str] = util.placement_group_table(group)["bundles_to_node_id"]
        addresses = {name: address for address, name in self._ids.items()}
        return [addresses[nodes[number]] for number in range(len(bundles))]

    def _watch(self) -> None:
        while True:
            time.sleep(_LOOKED_EVERY_S)
            self._look()

    def _look(self) -> None:
        alive = [node for node in self._ray.nodes() if node["Alive"]]
        self._ids = {node["NodeManagerAddress"]: node["NodeID"] for node in alive}
        self._say([0, None, [self._address, sorted(self._ids)]])

    def _say(self, message: Any) -> None:
        with self._lock:
            write_frame(self._out, message)


def main() -> None:
    """Joins the cluster at an address: `ray_door.py ADDRESS`."""
    # Whatever Ray and its workers print must not come between the messages.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    os.environ.update(_QUIET_ENV)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ray
        import ray.util.scheduling_strategies

        ray.init(address=sys.argv[1], log_to_driver=False, logging_level=logging.ERROR)
    # Ray's handler would leave the cluster in order, which takes long where its head is gone.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _Server(ray, out).serve(sys.stdin.buffer)
    os._exit(0)


if __name__ == "__main__":
    main()
