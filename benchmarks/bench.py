"""What a benchmark returns, and where its data is."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DATA = Path(os.environ.get("SEXTANT_DATA", Path(__file__).parents[2] / "shared" / "data"))
"""Real data for measuring; a benchmark whose set is not there is skipped with that reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One measured figure: `held` is None where there is no bar."""

    name: str
    measured: float
    unit: str
    bar: str = ""
    held: bool | None = None
    beside: dict[str, float] = field(default_factory=dict)
    """Peers and limits, measured in the same run."""


class Skipped(Exception):  # noqa: N818
    """The benchmark cannot run here; the message says why."""


def needs(folder: str) -> Path:
    """The folder of a data set.

    Raises:
        Skipped: it is not there.
    """
    path = DATA / folder
    if not path.exists():
        raise Skipped(f"the data set {folder} is not at {DATA}; set SEXTANT_DATA")
    return path


def as_json(figure: Figure) -> dict[str, Any]:
    """The figure as plain data."""
    return {name: getattr(figure, name) for name in Figure.__slots__}
