"""Peers, each in a process of an environment of its own: other vector stores, and ORCA.

Their libraries bring servers, loops and pins that the product's environment should not have:
`make bench` installs them in `.venv-peers`. A store that is not there is left out, and said so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.clustered import DataSet

_HERE = Path(__file__).parent
PYTHON = Path(os.environ.get("SEXTANT_PEERS", _HERE.parents[1] / ".venv-peers")) / "bin/python"
EMBEDDED = ("hnswlib", "usearch", "lancedb")
_LONGEST_S = 1500.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """What a store reached at the least effort with which it reaches the recall; `p99_s` is of a
    query, of 32 clients where it serves over a socket.
    """

    name: str
    socket: bool
    recall: float
    per_s: float
    p99_s: float


def measure(folder: Path, data: DataSet, clients: int, seconds: float) -> list[Peer]:
    """All stores that are installed."""
    if not PYTHON.exists():
        print(f"  no peers: {PYTHON} is not there (make bench installs it)")
        return []
    np.save(folder / "queries.npy", data.queries_QD)
    np.save(folder / "true.npy", data.true_QK)
    found = [_embedded(name, folder, data, clients, seconds) for name in EMBEDDED]
    from benchmarks.peers import chroma

    found.append(chroma.measure(folder, data, clients, seconds))
    return [one for one in found if one is not None]


def _embedded(name: str, folder: Path, data: DataSet, clients: int, seconds: float) -> Peer | None:
    """A store in the process of its caller, with as many threads as there are cores."""
    command = [str(PYTHON), str(_HERE / "embedded.py"), name, str(folder), str(data.path)]
    command += [str(data.dims), str(clients), str(seconds)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_LONGEST_S, check=True)
    except (subprocess.SubprocessError, OSError) as error:
        said = getattr(error, "stderr", b"") or b""
        print(
            f"  {name} left out: {said[-300:].decode(errors='replace') or error}", file=sys.stderr
        )
        return None
    return Peer(name=name, socket=False, **json.loads(done.stdout.splitlines()[-1]))
