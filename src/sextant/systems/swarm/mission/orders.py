"""What each process of a mission is told at its start, as JSON files.

A drone is told of itself and its peers; of the map only its frame, the geofence.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sextant.errors import InputError
from sextant.systems.swarm.placement.link import LinkRule

Point = tuple[float, float]

MOST_SIDE = 8000
"""Cells of a chart along a side: a drone keeps some twenty bytes of each, for every other drone."""


class _Orders(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Kind = TypeVar("Kind", bound=_Orders)


class ChartOrders(_Orders):
    """The geofence and its cells."""

    rows: int = Field(gt=0, le=MOST_SIDE)
    columns: int = Field(gt=0, le=MOST_SIDE)
    cell_m: float = Field(gt=0)
    origin_m: Point


class LinkOrders(_Orders):
    """A link to a brain that is not on board; see `placement.link.LinkRule`."""

    round_trip_s: float = Field(default=0.0, ge=0, le=60)
    jitter_s: float = Field(default=0.0, ge=0, le=60)
    loss_probability: float = Field(default=0.0, ge=0, lt=1)
    outage_s: Point | None = None

    def rule(self) -> LinkRule:
        """The same, for those who carry packets."""
        return LinkRule(
            round_trip_s=self.round_trip_s,
            jitter_s=self.jitter_s,
            loss_probability=self.loss_probability,
            outage_s=self.outage_s,
        )


class DroneOrders(_Orders):
    """For one drone.

    Attributes:
        mission: its number.
        name: the drone's.
        drones: how many the mission has, all told; None if whoever wrote this does not know.
        home_m: where it lands at the end.
        chart: the geofence.
        listen: its own endpoint.
        peers: endpoints that it connects to: of the vehicle, and of other drones.
        loss: share of the words from peers that it does not hear, for trying that out.
        seed: for that only.
        period_s: of its loop.
        battery_s: how long a full battery hovers.
        link: to a brain that is not on board; None decides on board.
        lost_link_s: without a setpoint from the brain for so long it lands where it is.
        report: a file for what it tells at the end; none if empty.
    """

    mission: int
    name: int = Field(ge=0, le=0xFFFF)
    drones: int | None = Field(default=None, gt=0, le=0x10000)
    home_m: Point
    chart: ChartOrders
    listen: str
    peers: list[str]
    loss: float = Field(default=0.0, ge=0, lt=1)
    seed: int = Field(default=0, ge=0)
    period_s: float = Field(default=0.05, gt=0)
    battery_s: float = Field(default=900.0, gt=0)
    link: LinkOrders | None = None
    lost_link_s: float = Field(default=10.0, gt=0)
    report: str = ""


class BrainOrders(_Orders):
    """For the brain of drones that do not decide on board.

    Attributes:
        drones: the orders of the minds that it is.
        listen: its own endpoint.
        peers: the drones' endpoints.
        link: to each of them.
        report: a file for what it tells at the end.
    """

    mission: int
    drones: list[DroneOrders] = Field(min_length=1)
    listen: str
    peers: list[str]
    link: LinkOrders
    seed: int = Field(default=0, ge=0)
    report: str


class WorldOrders(_Orders):
    """For the simulator.

    Attributes:
        map: the file.
        cell_m: metres a cell of a MovingAI map.
        starts_m: of the drones.
        targets_m: what they look for.
        charge: how full the batteries are at the start of those that are not full.
        result: the file that it writes at the end.
    """

    mission: int
    map: str
    cell_m: float | None = None
    seed: int = Field(ge=0)
    starts_m: list[Point]
    targets_m: list[Point]
    listen: str
    most_s: float = Field(gt=0)
    period_s: float = Field(default=0.05, gt=0)
    charge: dict[int, float] = {}
    result: str


def read_orders(path: Path, kind: type[Kind]) -> Kind:
    """Orders from a file.

    Raises:
        InputError: it does not hold them; the message names the key.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", where=str(path)) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(first["msg"], where=f"{path}: {key}" if key else str(path)) from error


def publish(path: Path, told: object) -> None:
    """A JSON file that is there whole, or not at all."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(told, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
