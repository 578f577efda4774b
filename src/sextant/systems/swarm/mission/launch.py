"""A mission in real time: a process a drone, one for the physics, and nobody who leads.

The launcher starts them and keeps the score. It is no part of the mission: when it is killed, all
others go on and finish.
"""

from __future__ import annotations

import json
import secrets
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sextant.errors import EngineError
from sextant.fleet import wire
from sextant.systems.swarm.drone.safety import SafetyRule
from sextant.systems.swarm.mission.known import Known
from sextant.systems.swarm.mission.orders import (
    MOST_SIDE,
    BrainOrders,
    ChartOrders,
    DroneOrders,
    LinkOrders,
    WorldOrders,
    publish,
)
from sextant.systems.swarm.mission.places import chart_of, reach, starts_on
from sextant.systems.swarm.mission.record import FRAME_S, frame_line, start_line, thinned
from sextant.systems.swarm.mission.start import start_all
from sextant.systems.swarm.mission.wire import Keys, pack, unpack
from sextant.systems.swarm.world.maps import read_map
from sextant.systems.swarm.world.world import WorldRule

_GRACE_S = 20.0
_NEAR_M = 1.0
_LOG_LINES = 6
_BRAIN = -1
"""Among the minds, that of all drones."""


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
        link: LinkOrders | None = None,
        lost_link_s: float = 10.0,
        charge: Mapping[int, float] | None = None,
    ) -> None:
        """Look at the map, and write everybody's orders into a folder.

        With a link the drones do not decide on board, but a process behind it does for all;
        `charge` is how full the batteries of some drones are at the start.

        Raises:
            InputError: the map does not parse, or has no place for so many drones.
        """
        rule, safety = WorldRule(seed=seed), SafetyRule()
        grid = read_map(map_file, cell_m=cell_m)
        self.chart = chart_of(grid, MOST_SIDE)
        self.layer = grid.layer(rule.altitude_m)
        starts_N2 = starts_on(self.layer, self.chart, drones, safety, seed)
        clearance_m = safety.radius_m + safety.margin_m
        self.reach = reach(self.layer, self.chart, starts_N2, clearance_m)
        self.reachable_C = self.reach.cells_C
        places = self.chart.centres(np.flatnonzero(self.reachable_C))
        picked = np.random.default_rng((seed, 8)).permutation(len(places))[:targets]
        self.starts_N2 = starts_N2
        self.targets_T2 = places[picked]
        self.mission, self.folder, self.drones = secrets.randbits(48), folder, drones
        self.most_s = most_s
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._endpoints = [f"tcp/127.0.0.1:{port}" for port in free_ports(drones + 3)]
        self._link, self._lost_link_s, self._charge = link, lost_link_s, dict(charge or {})
        self._write_orders(map_file, cell_m, starts_N2, loss, seed, period_s)
        self._lock = threading.Lock()
        self._known = Known(self.chart.num_cells)
        self._shown_C = self._known.seen_C.copy()
        self._tellings: dict[int, dict[str, Any]] = {}
        self._truth: dict[str, Any] | None = None
        self._counts: dict[int, tuple[int, int]] = {}
        self.curve = [(0.0, 0.0)]
        self.reports: list[dict[str, Any]] = []
        self._session: Any = None
        self._failure: str | None = None

    def start(self) -> None:
        """Start all processes, each in a session of its own, and listen."""
        self.processes = start_all(self.folder)
        self.listen()

    def listen(self) -> None:
        """Hear what the physics and the drones tell, whoever started them."""
        keys = Keys(self.mission)
        self._session = wire.peer(self._endpoints[-1], self._endpoints[:-1])
        self._hearing = [
            self._session.declare_subscriber(keys.tellings, wire.direct(self._hear)),
            self._session.declare_subscriber(keys.truth, wire.direct(self._score)),
            self._session.declare_subscriber(keys.counts, wire.direct(self._count)),
        ]

    def watch(self, each_frame: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Look on until the physics ends; returns the mission's figures.

        Raises:
            EngineError: the physics failed, or any process before the flight began; with the
                last that it said.
        """
        until_s = time.monotonic() + self.most_s + 120.0
        world = self.processes["world"]
        while world.poll() is None and time.monotonic() < until_s:
            time.sleep(FRAME_S)
            if self.truth() is None and (failed := self._failed()):
                raise EngineError(failed)
            frame = self.frame()
            if frame is not None:
                each_frame(frame)
        self._failure = self._failed()
        # Looks, not a clock: who stood still with the whole machine was not late.
        for _ in range(round(_GRACE_S / FRAME_S)):
            if all(process.poll() is not None for process in self.processes.values()):
                break
            time.sleep(FRAME_S)
        for process in self.processes.values():
            _end(process)
        return self.figures()

    def abort(self) -> None:
        """Everybody shall land. One peer that hears it is enough."""
        self._session.put(Keys(self.mission).abort, pack(True))

    def shape(self, round_trip_s: float, jitter_s: float = 0.0, loss: float = 0.0) -> None:
        """From now on the link to the brain is another."""
        self._session.put(Keys(self.mission).link, pack([round_trip_s, jitter_s, loss]))

    def endpoint(self, drone: int) -> str:
        """Where a peer of this drone connects to."""
        return self._endpoints[drone]

    def counts(self) -> dict[int, tuple[int, int]]:
        """Ticks, and ticks whose setpoint came too late, of each drone whose brain is elsewhere."""
        with self._lock:
            return dict(self._counts)

    def tellings(self) -> dict[int, dict[str, Any]]:
        """What each drone told last."""
        with self._lock:
            return dict(self._tellings)

    def truth(self) -> dict[str, Any] | None:
        """What the physics told last; None before it did."""
        with self._lock:
            return self._truth

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
        return start_line(self.chart, self.layer, self.reach, self.targets_T2, self.drones)

    def coverage(self) -> float:
        """The share of what can be reached that a mind that was not lost says some drone has seen;
        what only the dead knew is lost.
        """
        seen = int((self._known.seen_C & self.reachable_C).sum())
        return seen / max(1, int(self.reachable_C.sum()))

    def frame(self) -> dict[str, Any] | None:
        """The line of a record for now; None before anything is known, or if nothing is new."""
        with self._lock:
            truth, told = self._truth, dict(self._tellings)
            fresh = np.flatnonzero(self._known.seen_C & ~self._shown_C)
            self._shown_C |= self._known.seen_C
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
            self._known.hear(telling["name"], telling["seen"])

    def _score(self, sample: Any) -> None:
        truth = unpack(sample.payload.to_bytes())
        with self._lock:
            self._truth = truth
            self._known.lose(self._lost(truth))

    def _lost(self, told: Mapping[str, Any]) -> set[int]:
        """The minds that went down with their drones; a brain that is elsewhere goes on."""
        return set(told["lost"]) if self._link is None else set()

    def _count(self, sample: Any) -> None:
        name, ticks, missed, _ = unpack(sample.payload.to_bytes())
        with self._lock:
            self._counts[name] = (ticks, missed)

    def figures(self) -> dict[str, Any]:
        """The object of `fly --json`, and more."""
        result = _read(self.folder / "world.json")
        if result is None:
            raise EngineError(self._failure or f"the physics told nothing: {self._last('world')}")
        files = [self.folder / f"drone-{name}.json" for name in range(self.drones)]
        reports = [report for report in map(_read, files) if report is not None]
        self.reports = reports
        # What a brain knew that was killed is what it told before.
        told = [t for t in self._tellings.values() if self._link is not None]
        brain = _read(self.folder / "brain.json") if self._link is not None else None
        minds = reports if self._link is None else [brain] if brain is not None else told
        lost = self._lost(result)
        minds = [mind for mind in minds if mind.get("name") not in lost]
        self._known.lose(lost)
        for mind in minds:
            self._known.hear(mind.get("name", _BRAIN), mind["seen"])
        self.curve.append((result["seconds"], self.coverage()))
        found = np.array([spot for mind in minds for spot in mind["targets"]]).reshape(-1, 2)
        gaps_TF = np.hypot(*(self.targets_T2[:, None] - found[None]).transpose(2, 0, 1))
        ticks, overtaken = (sum(r[key] for r in reports) for key in ("ticks", "overtaken"))
        brains = [] if brain is None else [brain]
        cpu_s = result["cpu_s"] + sum(r["cpu_s"] for r in [*reports, *brains])
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
            "bytes": sum(r["words_bytes"] for r in [*reports, *brains]),
            "lost_drones": len(result["lost"]),
            "landed": result["landed"],
            "aborted": any(report["aborted"] for report in reports),
            "seconds": round(result["seconds"], 2),
            "ticks": ticks,
            "cpu_s_per_drone_tick": cpu_s / max(1, ticks - overtaken),
            "stages_p50_s": _stages(reports if self._link is None else brains),
            "curve": thinned(self.curve),
        }

    def _failed(self) -> str | None:
        """The first process that failed, a drone before the physics that waits for it, and the
        last that it said.
        """
        for name, process in sorted(self.processes.items()):
            code = process.poll()
            if code:
                how = f"ended by signal {-code}" if code < 0 else "failed"
                return f"{name} {how}: {self._last(name)}"
        return None

    def _last(self, name: str) -> str:
        """The end of a process's log."""
        try:
            lines = (self.folder / f"{name}.log").read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return "\n".join(lines[-_LOG_LINES:]) or "it said nothing"

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
            charge=self._charge,
            result=str(self.folder / "world.json"),
        )
        publish(self.folder / "world.orders.json", world.model_dump())
        chart = self.chart
        frame = ChartOrders(
            rows=chart.rows, columns=chart.columns, cell_m=chart.cell_m, origin_m=chart.origin_m
        )
        told = []
        for name, home in enumerate(starts):
            # Who does not decide on board speaks to the brain only, not to other drones.
            others = self._endpoints[:name] if self._link is None else []
            drone = DroneOrders(
                mission=self.mission,
                name=name,
                drones=self.drones,
                home_m=home,
                chart=frame,
                listen=self._endpoints[name],
                peers=[self._endpoints[-2], *others],
                loss=loss,
                seed=1000 * seed + name,
                period_s=period_s,
                link=self._link,
                lost_link_s=self._lost_link_s,
                report=str(self.folder / f"drone-{name}.json"),
            )
            publish(self.folder / f"drone-{name}.orders.json", drone.model_dump())
            told.append(drone)
        if self._link is not None:
            self._write_brain(told, self._link, seed)

    def _write_brain(self, drones: list[DroneOrders], link: LinkOrders, seed: int) -> None:
        brain = BrainOrders(
            mission=self.mission,
            drones=drones,
            listen=self._endpoints[-3],
            peers=self._endpoints[: self.drones],
            link=link,
            seed=1000 * seed + 999,
            report=str(self.folder / "brain.json"),
        )
        publish(self.folder / "brain.orders.json", brain.model_dump())


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


def free_ports(count: int) -> list[int]:
    """Ports that nobody has now; all are held until all are known, so that none comes twice."""
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in held]
    finally:
        for one in held:
            one.close()
