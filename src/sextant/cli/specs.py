"""SPEC on the command line: a TOML file, or `atlas:NAME`."""

from __future__ import annotations

import argparse
import json
from functools import cache
from pathlib import Path
from typing import Any

from sextant.atlas import NAMES, atlas_text
from sextant.facts import Facts
from sextant.plan.position import Position, locate
from sextant.workload import Workload, parse_workload, read_workload


def load_spec(spec: str) -> Workload:
    """Reads the workload that a SPEC names."""
    if spec.startswith("atlas:"):
        return load_atlas(spec.removeprefix("atlas:"))
    return read_workload(Path(spec))


@cache
def load_atlas(name: str) -> Workload:
    """Reads one system of the atlas."""
    return parse_workload(atlas_text(name), where=f"atlas:{name}")


def atlas_positions(facts: Facts) -> dict[str, Position]:
    """Where each system of the atlas is on the map."""
    return {name: locate(load_atlas(name), facts) for name in NAMES}


def add_json(parser: argparse.ArgumentParser) -> None:
    """Adds `--json`."""
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def print_json(value: Any) -> None:
    """Prints one JSON object; a NaN or an infinity in it is a bug."""
    print(json.dumps(value, allow_nan=False, indent=2, ensure_ascii=False))
