"""A hundred random faults in one long training on two ranks: it ends as one left alone.

A rank is killed, stopped for good or slowed; a node is gone; the weights get a NaN; the disk is
full. What each struck is written down. `SEXTANT_FAULTS` changes the number.
"""

from __future__ import annotations

import os

from benchmarks.bench import Figure
from benchmarks.kill_training import faulted
from benchmarks.struck import DISK, KILL, NAN, NODE, SLOW, STOP
from sextant.decoder.mesh import Degrees

_KINDS = {KILL: 0.35, STOP: 0.15, NODE: 0.15, SLOW: 0.1, NAN: 0.15, DISK: 0.1}


def run() -> list[Figure]:
    """Faults, resumes, compares bit for bit."""
    return faulted(int(os.environ.get("SEXTANT_FAULTS", "100")), Degrees(dp=2), _KINDS)
