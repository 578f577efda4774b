"""Reads the rows of facts: those that ship, and those that the user's own probe has kept."""

from __future__ import annotations

import difflib
import os
import tomllib
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from sextant.errors import InputError
from sextant.facts.machine import Fact, Machine
from sextant.facts.training import TrainingFacts, load_training_facts

_HERE = Path(__file__).parent
FACT_FILES = ("links", "failures", "prices", "constants", "rehearsal", "index")


def home() -> Path:
    """Where the user's own facts and run records are kept (`SEXTANT_HOME` moves it)."""
    if named := os.environ.get("SEXTANT_HOME"):
        return Path(named)
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "sextant"


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """All rows, by name."""

    machines: dict[str, Machine]
    rows: dict[str, Fact]
    training: TrainingFacts

    def machine(self, name: str) -> Machine:
        """The machine of that name or alias.

        Raises:
            InputError: there is none; the hint names the nearest.
        """
        if name in self.machines:
            return self.machines[name]
        aliases = {alias: m for m in self.machines.values() for alias in m.aliases}
        if name in aliases:
            return aliases[name]
        close = difflib.get_close_matches(name, [*self.machines, *aliases], 1, cutoff=0.4)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise InputError(
            f"no such machine: {name[:80]!r}",
            where="fleet.machine",
            hint=f"{hint}`sextant facts list` names them all; `sextant probe` adds this one",
        )

    def value(self, name: str) -> float:
        """The number of a row that ships with Sextant."""
        return self.rows[name].value


@cache
def load_facts() -> Facts:
    """All facts: the rows that ship, then the machines that the user's probe kept."""
    machines = _machines(_HERE / "machines.toml")
    kept = home() / "machines"
    for path in sorted(kept.glob("*.toml")) if kept.is_dir() else ():
        try:
            machines |= _machines(path)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            hint = "run `sextant probe` again, or remove the file"
            raise InputError(f"not a machine: {error}", where=str(path), hint=hint) from None
    rows: dict[str, Fact] = {}
    for name in FACT_FILES:
        rows |= _rows(_HERE / f"{name}.toml")
    return Facts(machines=machines, rows=rows, training=load_training_facts())


def _machines(path: Path) -> dict[str, Machine]:
    known = {f.name for f in fields(Machine)}
    found = {}
    for name, row in tomllib.loads(path.read_text(encoding="utf-8")).items():
        values: dict[str, Any] = {k: v for k, v in row.items() if k in known}
        values["aliases"] = tuple(values.get("aliases", ()))
        found[name] = Machine(**{"name": name, **values})
    return found


def _rows(path: Path) -> dict[str, Fact]:
    found = {}
    for name, row in tomllib.loads(path.read_text(encoding="utf-8")).items():
        value = row["value"]
        bounds = {"low": row.get("low", value), "high": row.get("high", value)}
        found[name] = Fact(**{"name": name, **row, **bounds})
    return found
