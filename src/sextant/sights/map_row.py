"""A row of the map of systems, and the short names of its columns."""

from __future__ import annotations

from dataclasses import dataclass

from sextant.axes import Axis, Coordinates

SHORT = {
    Axis.DATA: "data",
    Axis.TRAINING: "train",
    Axis.MODEL: "model",
    Axis.INFERENCE: "infer",
    Axis.COORDINATION: "coord",
    Axis.INTELLIGENCE: "intel",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class MapRow:
    """A system on the map: its name, its coordinates and the ceiling that binds it most."""

    title: str
    coordinates: Coordinates
    ceiling: str
