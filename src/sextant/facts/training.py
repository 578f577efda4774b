"""Reads the constants of the training laws."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from sextant.errors import InputError

_FILE = Path(__file__).parent / "training.toml"

DEFAULT_GENERATION = "hopper"
"""Curves of a machine that no generation lists: those of the best-known one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingFacts:
    """The rows of `training.toml`."""

    constant: dict[str, dict[str, Any]]
    generation: dict[str, dict[str, Any]]
    spread: dict[str, dict[str, Any]]

    def values(self, table: str = "constant") -> dict[str, float]:
        """Values by name, of the constants or of the interval's widths."""
        rows = self.constant if table == "constant" else self.spread
        return {name: float(row["value"]) for name, row in rows.items()}

    def curves(self, machine: str) -> dict[str, Any]:
        """The curves of the generation that a machine belongs to."""
        for row in self.generation.values():
            if machine in row["machines"]:
                return row
        return self.generation[DEFAULT_GENERATION]


def with_constants(facts: TrainingFacts, path: Path) -> TrainingFacts:
    """The same facts with the constants that `sextant calibrate` wrote to a file.

    Raises:
        InputError: the file cannot be read, or names a constant that no law has.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))["constant"]
        rows = {str(name): {**row, "value": float(row["value"])} for name, row in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        hint = "`sextant calibrate ROWS.json --machine NAME --out FILE` writes one"
        raise InputError(f"not constants: {error}", where=str(path), hint=hint) from None
    unknown = sorted(rows.keys() - facts.constant.keys())
    if unknown:
        raise InputError(f"no law has a constant {unknown[0]!r}", where=str(path))
    constant = {name: {**row, **rows.get(name, {})} for name, row in facts.constant.items()}
    return replace(facts, constant=constant)


@cache
def load_training_facts() -> TrainingFacts:
    """The rows that ship."""
    rows = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return TrainingFacts(
        constant=rows["constant"], generation=rows["generation"], spread=rows["spread"]
    )
