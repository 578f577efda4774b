"""What the user writes: a workload in TOML, checked at the door."""

import os

# Pydantic looks through all installed packages for plugins, which takes longer than a plan.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

from sextant.workload.door import parse_workload, read_workload
from sextant.workload.schema import (
    DTYPE_BYTES,
    OPTIMIZER_STATES,
    Agents,
    Corpus,
    Index,
    Model,
    Serving,
    Sites,
    Streams,
    Tables,
    Training,
    Workload,
)

__all__ = [
    "DTYPE_BYTES",
    "OPTIMIZER_STATES",
    "Agents",
    "Corpus",
    "Index",
    "Model",
    "Serving",
    "Sites",
    "Streams",
    "Tables",
    "Training",
    "Workload",
    "parse_workload",
    "read_workload",
]
