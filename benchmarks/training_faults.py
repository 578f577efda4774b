"""A hundred random faults in one long training on two ranks: it ends as one left alone.

Ranks are killed, stopped for good, held for half a second, and the process that watches them is
killed; what each struck is written down. `SEXTANT_FAULTS` changes the number.
"""

from __future__ import annotations

import os

from benchmarks.bench import Figure
from benchmarks.kill_training import HOLD, KILL, STOP, WATCHER, faulted
from sextant.decoder.mesh import Degrees

_KINDS = {KILL: 0.5, STOP: 0.2, HOLD: 0.1, WATCHER: 0.2}


def run() -> list[Figure]:
    """Faults, resumes, compares bit for bit."""
    return faulted(int(os.environ.get("SEXTANT_FAULTS", "100")), Degrees(dp=2), _KINDS)
