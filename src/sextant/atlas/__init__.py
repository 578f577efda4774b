"""The known systems, as workloads in TOML, each fact with its source."""

from __future__ import annotations

import difflib
from pathlib import Path

from sextant.errors import InputError

BOOK = (
    "web-scale-rag",
    "planetary-recommender",
    "foundation-pretraining",
    "drone-swarm",
)
"""The four systems of the textbook's own map."""

NAMES = (
    *BOOK,
    "federated-imaging",
    "live-moderation",
    "agentic-rag",
    "diloco-pretraining",
    "moe-serving",
)
"""Every system of the atlas, in the map's order."""


def atlas_text(name: str) -> str:
    """The TOML text of one system.

    Raises:
        InputError: the atlas has no such system; the hint names the nearest.
    """
    if name not in NAMES:
        close = difflib.get_close_matches(name, NAMES, 1, cutoff=0.4)
        hint = f"did you mean atlas:{close[0]}?" if close else "one of " + ", ".join(NAMES)
        raise InputError(f"the atlas has no {name[:80]!r}", where="atlas", hint=hint)
    return (Path(__file__).parent / f"{name}.toml").read_text(encoding="utf-8")
