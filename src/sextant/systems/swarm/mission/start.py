"""Starts the processes of a flight from their orders: all that a launcher is needed for.

As a process of its own it prints their numbers as one line of JSON, and waits for them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

_ORDERS = ".orders.json"


def start_all(folder: Path) -> dict[str, subprocess.Popen[bytes]]:
    """Start every process that has orders in a folder, each in a session of its own; by name."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    names = sorted(path.name.removesuffix(_ORDERS) for path in folder.glob(f"*{_ORDERS}"))
    started = {}
    for name in names:
        kind = "simulate" if name == "world" else name.partition("-")[0]
        words = ["swarm", kind, "--config", str(folder / f"{name}{_ORDERS}")]
        with (folder / f"{name}.log").open("wb") as log:
            started[name] = subprocess.Popen(
                [sys.executable, "-P", "-m", "sextant", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=env,
                start_new_session=True,
            )
    return started


if __name__ == "__main__":
    processes = start_all(Path(sys.argv[1]))
    print(json.dumps({name: process.pid for name, process in processes.items()}), flush=True)
    for process in processes.values():
        process.wait()
