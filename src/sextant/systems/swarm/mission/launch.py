"""A mission in real time: a process a drone, one for the physics, and nobody who leads.

The launcher starts them and keeps the score. It is no part of the mission: when it is killed, all
others go on and finish.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sextant.errors import EngineError
from sextant.fleet import wire
from sextant.systems.swarm.drone.safety import SafetyRule
from sextant.systems.swarm.mission.orders import (
    ChartOrders,
    DroneOrders,
    WorldOrders,
    publish,
)
from sextant.systems.swarm.mission.places import chart_of, reachable, starts_on
from sextant.systems.swarm.mission.record import FRAME_S, frame_line, start_line
from sextant.systems.swarm.mission.wire import Keys, pack, unpack
from sextant.systems.swarm.world.maps import read_map
from sextant.systems.swarm.world.world import WorldRule

_GRACE_S = 15.0
_NEAR_M = 1.0


class Flight:
    """The processes of one mission, and what an onlooker hears of them."""

    def __init__(
        self,
        map_file: Path,
        folder: Path,
        *,
        cell_m: float | None,
        drones: int,
        targets: int,
        loss: float,
        seed: int,
        most_s: float,
        period_s: float = 0.05,
    ) -> None:
        """Look at the map, and write everybody's orders into a folder.

        Raises:
            InputError: the map does not parse, or has no place for so many drones.
        """
        rule, safety = WorldRule(seed=seed), SafetyRule()
        grid = read_map(map_file, cell_m=cell_m)
        self.layer, self.chart = grid.layer(rule.altitude_m), chart_of(grid)
        starts_N2 = starts_on(self.layer, self.chart, drones, safety, seed)
        clearance_m = safety.radius_m + safety.margin_m
        self.reachable_C = reachable(self.layer, self.chart, starts_N2, clearance_m)
        places = self.chart.centres(np.flatnonzero(self.reachable_C))
        picked = np.random.default_rng((seed, 8)).permutation(len(places))[:targets]
        self.targets_T2 = places[picked]
        self.mission, self.folder, self.drones = secrets.randbits(48), folder, drones
        self.most_s = most_s
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._endpoints = [f"tcp/127.0.0.1:{port}" for port in _free_ports(drones + 2)]
        self._write_orders(map_file, cell_m, starts_N2, loss, seed, period_s)
        self._lock = threading.Lock()
        self._seen_C = np.zeros(self.chart.num_cells, np.bool_)
        self._shown_C = self._seen_C.copy()
        self._tellings: dict[int, dict[str, Any]] = {}
        self._truth: dict[str, Any] | None = None
        self.curve = [(0.0, 0.0)]
        self._session: Any = None

    def start(self) -> None:
        """Start all processes, each in a session of its own, and listen."""
        env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-P", "-m", "sextant", "swarm"]
        names = ["world", *(f"drone-{n}" for n in range(self.drones))]
        for name in names:
            kind = "simulate" if name == "world" else "drone"
            with (self.folder / f"{name}.log").open("wb") as log:
                self.processes[name] = subprocess.Popen(
                    [*command, kind, "--config", str(self.folder / f"{name}.orders.json")],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=env,
                    start_new_session=True,
                )
        keys = Keys(self.mission)
        self._session = wire.peer(self._endpoints[-1], self._endpoints[:-1])
        self._hearing = [
            self._session.declare_subscriber(keys.tellings, wire.direct(self._hear)),
            self._session.declare_subscriber(keys.truth, wire.direct(self._score)),
        ]

    def watch(self, each_frame: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Look on until the physics ends; returns the mission's figures.

        Raises:
            EngineError: the physics failed.
        """
        until_s = time.monotonic() + self.most_s + 120.0
        world = self.processes["world"]
        while world.poll() is None and time.monotonic() < until_s:
            time.sleep(FRAME_S)
            frame = self.frame()
            if frame is not None:
                each_frame(frame)
        for process in self.processes.values():
            try:
                process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                _end(process)
        return self._figures()

    def abort(self) -> None:
        """Everybody shall land. One peer that hears it is enough."""
        self._session.put(Keys(self.mission).abort, pack(True))

    def kill(self, name: str) -> None:
        """Kill one process (SIGKILL)."""
        _end(self.processes[name])

    def close(self) -> None:
        """End what is left."""
        for process in self.processes.values():
            _end(process)
        if self._session is not None:
            self._session.close()

    def start_line(self) -> dict[str, Any]:
        """The first line of a record."""
        return start_line(self.chart, self.layer, self.targets_T2, self.drones)

    def coverage(self) -> float:
        """The share of what can be reached that some drone says it has seen."""
        seen = int((self._seen_C & self.reachable_C).sum())
        return seen / max(1, int(self.reachable_C.sum()))

    def frame(self) -> dict[str, Any] | None:
        """The line of a record for now; None before anything is known, or if nothing is new."""
        with self._lock:
            truth, told = self._truth, dict(self._tellings)
            fresh = np.flatnonzero(self._seen_C & ~self._shown_C)
            self._shown_C |= self._seen_C
        if truth is None:
            return None
        up = [name for name, flies in enumerate(truth["flying"]) if flies]
        if truth["at_s"] > self.curve[-1][0]:
            self.curve.append((truth["at_s"], self.coverage()))
        return frame_line(
            truth["at_s"],
            self.coverage(),
            fresh,
            {name: truth["positions"][name] for name in up},
            [told[name] for name in up if name in told],
            truth["collisions"],
        )

    def _hear(self, sample: Any) -> None:
        telling = unpack(sample.payload.to_bytes())
        with self._lock:
            self._tellings[telling["name"]] = telling
            self._seen_C[telling["seen"]] = True

    def _score(self, sample: Any) -> None:
        with self._lock:
            self._truth = unpack(sample.payload.to_bytes())

    def _figures(self) -> dict[str, Any]:
        """The object of `fly --json`, and more."""
        result = _read(self.folder / "world.json")
        if result is None:
            log = (self.folder / "world.log").read_text(errors="replace").strip()
            raise EngineError(f"the physics failed: {log.splitlines()[-1] if log else 'no word'}")
        files = [self.folder / f"drone-{name}.json" for name in range(self.drones)]
        reports = [report for report in map(_read, files) if report is not None]
        for report in reports:
            self._seen_C[report["seen"]] = True
        self.curve.append((result["seconds"], self.coverage()))
        found = np.array([spot for r in reports for spot in r["targets"]]).reshape(-1, 2)
        gaps_TF = np.hypot(*(self.targets_T2[:, None] - found[None]).transpose(2, 0, 1))
        ticks = sum(report["ticks"] for report in reports)
        cpu_s = result["cpu_s"] + sum(report["cpu_s"] for report in reports)
        return {
            "collisions": len(result["collisions"]),
            "coverage": round(self.coverage(), 4),
            "time_to_95_s": next((at_s for at_s, share in self.curve if share >= 0.95), None),
            "targets_found": int((gaps_TF.min(axis=1, initial=9.9) < _NEAR_M).sum()),
            "targets": len(self.targets_T2),
            "loop_p50_s": _worst(reports, "loop_p50_s"),
            "loop_p99_s": _worst(reports, "loop_p99_s"),
            "missed_deadlines": sum(report["missed_deadlines"] for report in reports),
            "min_separation_m": result["min_separation_m"],
            "bytes": sum(report["words_bytes"] for report in reports),
            "lost_drones": len(result["lost"]),
            "landed": result["landed"],
            "seconds": round(result["seconds"], 2),
            "ticks": ticks,
            "cpu_s_per_drone_tick": cpu_s / max(1, ticks),
            "stages_p50_s": _stages(reports),
        }

    def _write_orders(
        self,
        map_file: Path,
        cell_m: float | None,
        starts_N2: np.ndarray,
        loss: float,
        seed: int,
        period_s: float,
    ) -> None:
        starts = [(float(x), float(y)) for x, y in starts_N2]
        world = WorldOrders(
            mission=self.mission,
            map=str(map_file.resolve()),
            cell_m=cell_m,
            seed=seed,
            starts_m=starts,
            targets_m=[(float(x), float(y)) for x, y in self.targets_T2],
            listen=self._endpoints[-2],
            most_s=self.most_s,
            period_s=period_s,
            result=str(self.folder / "world.json"),
        )
        publish(self.folder / "world.orders.json", world.model_dump())
        chart = self.chart
        frame = ChartOrders(
            rows=chart.rows, columns=chart.columns, cell_m=chart.cell_m, origin_m=chart.origin_m
        )
        for name, home in enumerate(starts):
            drone = DroneOrders(
                mission=self.mission,
                name=name,
                home_m=home,
                chart=frame,
                listen=self._endpoints[name],
                peers=[self._endpoints[-2], *self._endpoints[:name]],
                loss=loss,
                seed=1000 * seed + name,
                period_s=period_s,
                report=str(self.folder / f"drone-{name}.json"),
            )
            publish(self.folder / f"drone-{name}.orders.json", drone.model_dump())


def _worst(reports: list[dict[str, Any]], key: str) -> float:
    return max((float(report[key]) for report in reports), default=0.0)


def _stages(reports: list[dict[str, Any]]) -> Mapping[str, float]:
    names = reports[0]["stages_p50_s"] if reports else {}
    return {n: float(np.median([r["stages_p50_s"][n] for r in reports])) for n in names}


def _read(path: Path) -> dict[str, Any] | None:
    try:
        told: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return told


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
        process.wait(10.0)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody has now; all are held until all are known, so that none comes twice."""
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in held]
    finally:
        for one in held:
            one.close()
