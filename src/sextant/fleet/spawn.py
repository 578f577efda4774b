"""Starts the process around a member on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import sextant
from sextant.fleet.orders import Orders

_RAYS_OWN = ("RAY_JOB_ID", "RAY_RAYLET_PID", "RAY_CLIENT_MODE", "RAY_NODE_ID", "RAY_LD_PRELOAD")


def spawn(
    orders: bytes, name: str, env: Mapping[str, str], log: Path | None = None, *, detach: bool
) -> subprocess.Popen[bytes]:
    """Starts a host, in a session of its own so that Ctrl-C at a terminal does not reach it.

    Args:
        orders: packed `Orders`.
        name: shown in its command line.
        env: over this process's own environment.
        log: where it writes what it prints; nowhere by default.
        detach: whether it shall be nobody's child.
    """
    words = ["--detach"] if detach else []
    # `-P`: the working directory is no place to import from. The package itself may be, if it is
    # not installed, only on the path of whoever starts us.
    root = str(Path(sextant.__file__).parents[1])
    inherited = {key: value for key, value in os.environ.items() if key not in _RAYS_OWN}
    path = [root, *filter(None, [inherited.get("PYTHONPATH")])]
    with (log or Path(os.devnull)).open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sextant.fleet.host", name, *words],
            env={**inherited, "PYTHONPATH": os.pathsep.join(path), **env},
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    assert process.stdin is not None
    try:
        process.stdin.write(orders)
        process.stdin.close()
    except BrokenPipeError:
        # It is gone already; whoever looks at its end will say so.
        pass
    return process


def spawn_detached(orders: bytes, env: Mapping[str, str]) -> None:
    """Starts a host that outlives whoever started it; runs on any node, as a task of Ray."""
    name = Orders.unpack(orders).name
    spawn(orders, name, env, detach=True).wait(timeout=30.0)
