"""Two replicas of every shard, two routers: any one process is killed while clients ask.

Everything of the service is killed in turn, the process that started it all among it, by SIGKILL.
The routers have a door of a few lines here, so that the figures are the fleet's.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench import Figure
from sextant.fleet import Card, Deadline, Fleet, Gang, Member, MemberSpec, MemberState

SHARDS, ROWS, DIMS, K = 4, 5000, 64, 10
_DEADLINE_S, _PARTIAL_S = 1.0, 0.5
_CLIENTS, _PACE_S = 4, 0.01
_FULL_WITHIN_S, _AFTER_S = 30.0, 1.0
_ROOT = Path(__file__).parents[1]


def vectors_of(shard: int) -> np.ndarray:
    """The vectors [N, D] of a shard; the same in every process."""
    return np.random.default_rng(shard).standard_normal((ROWS, DIMS), dtype=np.float32)


class Scan(Member):
    """Scans the vectors of one shard; answers with the K best."""

    def __init__(self, shard: int) -> None:
        self._shard = shard

    def warm(self) -> None:
        """Makes the vectors."""
        self._vectors_ND = vectors_of(self._shard)

    def handle(self, body: bytes, deadline: Deadline) -> bytes:  # noqa: ARG002
        """The scores and numbers of the best rows for a query."""
        scores_N = self._vectors_ND @ np.frombuffer(body, np.float32)
        best = np.argpartition(-scores_N, K)[:K]
        found = [[float(scores_N[row]), self._shard * ROWS + int(row)] for row in best]
        return json.dumps(found).encode()


class Router(Member):
    """Asks the shards for whoever connects to its port: a query a line, a JSON answer a line."""

    def __init__(self, port: int) -> None:
        self._port = port

    def warm(self) -> None:
        """Attaches, and opens the door."""
        self._fleet = Fleet.attach(self.card, standby=True)
        self._shards = self._fleet.find("shard")
        self._shards.ready(30)
        self._door = socket.create_server(("127.0.0.1", self._port))
        threading.Thread(target=self._accept, daemon=True).start()

    def handle(self, body: bytes, deadline: Deadline) -> bytes:  # noqa: ARG002
        """Whether it keeps the fleet, and what its asking took."""
        tally = self._shards.tally
        return json.dumps(
            {"keeping": self._fleet.keeping, "asks": tally.asks, "hedged": tally.hedged}
        ).encode()

    def close(self) -> None:
        """Closes the door."""
        self._door.close()
        self._fleet.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._door.accept()
                threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with client, client.makefile("rwb") as stream, contextlib.suppress(OSError):
            for line in stream:
                gather = self._shards.ask(bytes.fromhex(line.decode()), Deadline.after(_DEADLINE_S))
                found = [
                    hit for answer in gather.answers.values() for hit in json.loads(answer.body)
                ]
                best = [row for _, row in sorted(found, reverse=True)[:K]]
                answer = {"rows": best, "missing": [str(one) for one in gather.missing]}
                stream.write(json.dumps(answer).encode() + b"\n")
                stream.flush()


@dataclass(frozen=True, slots=True)
class Asked:
    """One query of a client: when, how long it took, and whether it was answered, and in full."""

    at_s: float
    took_s: float
    answered: bool
    full: bool
    right: bool


class Clients:
    """Ask one query after the other; each tries the other router when one does not answer."""

    def __init__(self, ports: Sequence[int], count: int) -> None:
        self.asked: list[Asked] = []
        self._ports = ports
        self._truth = _truth(np.random.default_rng(99).standard_normal((32, DIMS), np.float32))
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Ends them."""
        self._over.set()
        for thread in self._threads:
            thread.join(10 * _DEADLINE_S)

    def _run(self, number: int) -> None:
        streams: dict[int, Any] = {}
        while not self._over.wait(_PACE_S):
            number += 1
            query, truth = self._truth[number % len(self._truth)]
            start_s = time.monotonic()
            answer = None
            for port in (self._ports[number % 2], self._ports[(number + 1) % 2]):
                answer = _ask(streams, port, query)
                if answer is not None:
                    break
            full = answer is not None and not answer["missing"]
            right = full and answer is not None and answer["rows"] == truth
            took_s = time.monotonic() - start_s
            self.asked.append(Asked(start_s, took_s, answer is not None, full, right))
        for stream in streams.values():
            stream.close()


@dataclass(slots=True)
class Seen:
    """What a kill did."""

    victim: str
    queries: int = 0
    failed: int = 0
    wrong: int = 0
    partial: int = 0
    partial_s: float = 0.0
    worst_s: float = 0.0
    full_s: float = float("inf")
    """Until every replica and router served again."""


@dataclass
class Service:
    """The service under test, watched by a process that only attached to it."""

    launcher: subprocess.Popen[str]
    fleet: Fleet
    shards: Gang
    routers: Gang
    ports: list[int] = field(default_factory=list)

    def keeper(self) -> str | None:
        """The router that keeps the fleet, if one does."""
        answers = self.routers.ask(b"", Deadline.after(5.0)).answers
        return next((n for n, a in answers.items() if json.loads(a.body)["keeping"]), None)

    def whole(self) -> bool:
        """Whether every replica and every router serves."""
        states = (*self.shards.states().values(), *self.routers.states().values())
        return all(state is MemberState.UP for state in states)

    def pid(self, victim: str) -> int:
        """The process of a victim by its name."""
        if victim == "launcher":
            return self.launcher.pid
        gang = self.shards if victim.startswith("shard/") else self.routers
        pid = gang.pid(victim)
        assert pid is not None, f"{victim} never spoke"
        return pid


@contextlib.contextmanager
def service() -> Iterator[Service]:
    """The service in processes of its own, ended whoever of it is left."""
    ports = _free_ports(2)
    launcher = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.two_routers", *map(str, ports)],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert launcher.stdout is not None
        card = Card.from_json(launcher.stdout.readline())
        with Fleet.attach(card) as fleet:
            found = Service(launcher, fleet, fleet.find("shard"), fleet.find("router"), ports)
            try:
                found.shards.ready(30)
                found.routers.ready(30)
                yield found
            finally:
                fleet.end()
    finally:
        launcher.terminate()
        launcher.communicate(timeout=30)


def kill(running: Service, clients: Clients, victim: str, after_s: float = _AFTER_S) -> Seen:
    """Kills one process, and waits until all is well again and a while longer."""
    pid = running.pid(victim)
    seen, at_s = Seen(victim), time.monotonic()
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.1)  # until it is noticed at all
    while not running.whole() and time.monotonic() - at_s < _FULL_WITHIN_S:
        time.sleep(0.01)
    if running.whole():
        seen.full_s = time.monotonic() - at_s
    time.sleep(after_s)
    asked = [one for one in clients.asked if one.at_s + one.took_s >= at_s]
    partial = [one for one in asked if one.answered and not one.full]
    seen.queries = len(asked)
    seen.failed = sum(not one.answered for one in asked)
    seen.wrong = sum(one.full and not one.right for one in asked)
    seen.partial = len(partial)
    if partial:
        ends = [one.at_s + one.took_s for one in partial]
        seen.partial_s = max(ends) - min(one.at_s for one in partial)
    seen.worst_s = max((one.took_s for one in asked), default=0.0)
    return seen


def run() -> list[Figure]:
    """Kills replicas, routers, the launcher, and whoever keeps the fleet then, one at a time."""
    with service() as running:
        clients = Clients(running.ports, _CLIENTS)
        try:
            time.sleep(3.0)
            victims: list[Callable[[], str]] = [
                lambda: "shard/0.0",
                lambda: "shard/3.1",
                lambda: "router/0",
                lambda: "router/1",
                lambda: "launcher",
                lambda: running.keeper() or "router/0",
                lambda: "shard/2.0",
                lambda: running.keeper() or "router/0",
            ]
            seen = [kill(running, clients, victim()) for victim in victims]
        finally:
            clients.close()
    return _figures(seen)


def _figures(seen: Sequence[Seen]) -> list[Figure]:
    queries = sum(one.queries for one in seen)
    failed = sum(one.failed + one.wrong for one in seen)
    longest_s = max(one.partial_s for one in seen)
    return [
        Figure(
            name=f"failed or wrong of {queries} queries",
            measured=float(failed),
            unit="",
            bar="none, whichever process is killed",
            held=failed == 0,
        ),
        Figure(
            name="partial answers for at most",
            measured=longest_s,
            unit="s",
            bar=f"at most {_PARTIAL_S} s",
            held=longest_s <= _PARTIAL_S,
            beside={"partial answers": float(sum(one.partial for one in seen))},
        ),
        *(
            Figure(
                name=f"killed {one.victim}: full again after",
                measured=one.full_s,
                unit="s",
                bar="by itself",
                held=one.full_s < float("inf"),
                beside={"slowest answer": one.worst_s},
            )
            for one in seen
        ),
    ]


def _truth(queries_QD: np.ndarray) -> list[tuple[bytes, list[int]]]:
    """Each query as it is sent, and its K best rows of all."""
    vectors_ND = np.concatenate([vectors_of(shard) for shard in range(SHARDS)])
    scores_QN = queries_QD @ vectors_ND.T
    best_QK = np.argsort(-scores_QN, axis=1)[:, :K]
    return [
        (q.tobytes().hex().encode(), k.tolist()) for q, k in zip(queries_QD, best_QK, strict=True)
    ]


def _ask(streams: dict[int, Any], port: int, query: bytes) -> dict[str, Any] | None:
    """What a router answers; none if it does not."""
    answer: dict[str, Any] | None
    try:
        if port not in streams:
            address = ("127.0.0.1", port)
            with socket.create_connection(address, timeout=2 * _DEADLINE_S) as link:
                streams[port] = link.makefile("rwb")
        streams[port].write(query + b"\n")
        streams[port].flush()
        answer = json.loads(streams[port].readline() or b"null")
    except (OSError, ValueError):
        answer = None
    if answer is None:
        with contextlib.suppress(OSError):
            if stream := streams.pop(port, None):
                stream.close()
        return None
    return answer


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]


def _launch(ports: Sequence[int]) -> None:
    """Starts the service and waits; it may be killed meanwhile."""
    factory = "benchmarks.two_routers"
    with Fleet.start() as fleet:
        members = [
            MemberSpec(name=f"shard/{n}", factory=f"{factory}:Scan", arguments={"shard": n})
            for n in range(SHARDS)
        ]
        routers = [
            MemberSpec(name=f"router/{n}", factory=f"{factory}:Router", arguments={"port": port})
            for n, port in enumerate(ports)
        ]
        fleet.gang("shard", members, replicas=2).ready(60)
        fleet.gang("router", routers).ready(60)
        print(fleet.card.to_json(), flush=True)
        while not fleet.over:
            time.sleep(0.1)


if __name__ == "__main__":
    _launch([int(port) for port in sys.argv[1:]])
