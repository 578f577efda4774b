"""SPEC on the command line: a TOML file, or `atlas:NAME`."""

from __future__ import annotations

import argparse
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sextant.facts import Facts
    from sextant.plan.position import Position
    from sextant.workload import Workload


def load_spec(spec: str) -> Workload:
    """Reads the workload that a SPEC names."""
    if spec.startswith("atlas:"):
        return load_atlas(spec.removeprefix("atlas:"))
    from sextant.workload import read_workload

    return read_workload(Path(spec))


@cache
def load_atlas(name: str) -> Workload:
    """Reads one system of the atlas."""
    from sextant.atlas import atlas_text
    from sextant.workload import parse_workload

    return parse_workload(atlas_text(name), where=f"atlas:{name}")


def atlas_positions(facts: Facts) -> dict[str, Position]:
    """Where each system of the atlas is on the map."""
    from sextant.atlas import NAMES
    from sextant.plan.position import locate

    return {name: locate(load_atlas(name), facts) for name in NAMES}


def add_json(parser: argparse.ArgumentParser) -> None:
    """Adds `--json`."""
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def print_json(value: Any) -> None:
    """Prints one JSON object; a NaN or an infinity in it is a bug."""
    print(json.dumps(value, allow_nan=False, indent=2, ensure_ascii=False))
