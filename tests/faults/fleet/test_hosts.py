"""Three hosts (namespaces of this machine) under one Ray head: one is cut off and comes back, and
the head dies.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hosts import Host, Switch, hosts

from tests.local_fleet import need

HERE = Path(__file__).parent
MEMBERS = HERE.parents[1] / "integration" / "fleet"
RAY = Path(sys.executable).parent / "ray"
PORT, ANSWER_S, STARTED_S = 6399, 60.0, 120.0

Until = Callable[[Callable[[], bool], float], bool]


class Driver:
    """The process that drives the fleet, on the first host."""

    def __init__(self, host: Host, env: dict[str, str]) -> None:
        script = HERE / "hosts_driver.py"
        self._process = subprocess.Popen(
            host.command(sys.executable, str(script), f"{host.address}:{PORT}"),
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, line: str) -> dict[str, Any]:
        """Tells it a line, and hears its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self.hear(ANSWER_S, line)

    def hear(self, within_s: float, what: str) -> dict[str, Any]:
        """What it says next."""
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], within_s)[0], f"no answer to {what!r}"
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        try:
            self._process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate(timeout=5)


@dataclass
class Stage:
    """The hosts, what is between them, and who drives the fleet that runs on them."""

    hosts: list[Host]
    switch: Switch
    driver: Driver
    mark: str

    def ray(self, word: str) -> list[int]:
        """Ray's own processes of a kind."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                exe = str((entry / "exe").readlink())
                if word in exe and self.mark in (entry / "cmdline").read_text():
                    found.append(int(entry.name))
        return found


@contextlib.contextmanager
def ray_hosts(count: int) -> Iterator[tuple[list[Host], Switch, dict[str, str], str]]:
    """So many hosts, each a node of one Ray cluster; the environment for what runs there."""
    need()
    directory = tempfile.mkdtemp(prefix="sxh")
    env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    env |= {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONPATH": os.pathsep.join([str(MEMBERS), *sys.path]),
        "SEXTANT_TEST": directory,
    }
    with contextlib.ExitStack() as stack:
        stack.callback(clean, directory)
        try:
            found, switch = stack.enter_context(hosts(count))
        except PermissionError as error:
            pytest.skip(f"no hosts of network namespaces here: {error}")
        start_ray(found, directory, env, stack)
        yield found, switch, env, directory


@pytest.fixture
def stage() -> Iterator[Stage]:
    with ray_hosts(3) as (found, switch, env, directory), contextlib.ExitStack() as stack:
        driver = Driver(found[0], env)
        stack.callback(driver.close)
        assert driver.hear(STARTED_S, "start") == {"ready": True}
        yield Stage(found, switch, driver, directory)


def start_ray(
    found: list[Host], directory: str, env: dict[str, str], stack: contextlib.ExitStack
) -> None:
    head = f"{found[0].address}:{PORT}"
    same = ["--num-cpus=1", "--object-store-memory=80000000", "--disable-usage-stats", "--block"]
    first = ["--head", f"--port={PORT}", "--include-dashboard=false", f"--temp-dir={directory}"]
    for number, host in enumerate(found):
        words = [*(first if number == 0 else [f"--address={head}"]), *same]
        own = Path(directory) / host.namespace
        own.mkdir()
        # A disk of its own: two of Ray's nodes that start at once would take each other's files.
        mount = "" if number == 0 else f"mount --bind {own} {directory} && "
        ray = shlex.join([str(RAY), "start", f"--node-ip-address={host.address}", *words])
        command = host.command("sh", "-c", f"{mount}exec {ray}")
        process = subprocess.Popen(
            command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        stack.callback(end, process)
        if number == 0:
            ask = f"import socket; socket.create_connection(('{host.address}', {PORT}), 1)"
            until_s = time.monotonic() + 30
            while subprocess.run(
                host.command(sys.executable, "-c", ask), capture_output=True, check=False
            ).returncode:
                assert time.monotonic() < until_s, "Ray's head does not start"


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(5)


def clean(directory: str) -> None:
    """Ends every process of the test: by its environment, or by its files."""
    mark = f"SEXTANT_TEST={directory}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            ours = mark in (entry / "environ").read_bytes().split(b"\0")
            if ours or directory in (entry / "cmdline").read_text():
                os.kill(int(entry.name), signal.SIGKILL)
    shutil.rmtree(directory, ignore_errors=True)


def test_a_host_is_cut_off_and_comes_back_and_nothing_needs_ray_to_live(
    stage: Stage, until: Until
) -> None:
    driver, switch = stage.driver, stage.switch
    where = driver.tell("where")
    nodes = {name: node for name, (node, _, _) in where.items()}
    assert len({nodes[f"single/{n}"] for n in range(3)}) == 3, "a host each"
    assert all(nodes[f"double/{n}.0"] != nodes[f"double/{n}.1"] for n in range(3)), "two hosts each"

    switch.shape(delay_s=0.004, loss=0.005)
    time.sleep(1.0)
    driver.tell("report")
    time.sleep(1.0)
    far = driver.tell("report")
    switch.shape(delay_s=0.0, loss=0.0)
    assert 0.008 < far["single"]["median_s"] < 0.1, "two ways of 4 ms, and what is lost sent again"
    assert far["single"]["partial"] < 0.2 * far["single"]["asks"]

    time.sleep(0.5)
    driver.tell("report")
    switch.cut(1)
    time.sleep(2.5)
    cut = driver.tell("report")
    # One of three members is away, and every answer says which; nobody waits beyond the deadline.
    away = next(f"single/{n}" for n in range(3) if nodes[f"single/{n}"] == stage.hosts[1].address)
    assert cut["single"]["missing"][away] > 0.8 * cut["single"]["asks"]
    assert cut["single"]["latest_s"] < 0.5 + 0.1
    assert cut["double"]["asks"] > 0
    assert cut["double"]["partial"] == 0, f"a member has a replica elsewhere: {cut['double']}"

    switch.mend(1)
    assert until(lambda: driver.tell("report")["single"]["full_now"], 8)
    assert driver.tell("where")[away] == [nodes[away], "up", where[away][2]], "the same process"

    for pid in (*stage.ray("gcs_server"), *stage.ray("raylet")):
        os.kill(pid, signal.SIGKILL)
    driver.tell("report")
    time.sleep(1.5)
    headless = driver.tell("report")
    assert not stage.ray("gcs_server")
    for role in ("single", "double"):
        assert headless[role]["asks"] > 0
        assert headless[role]["partial"] == 0, headless
    assert until(lambda: len(driver.tell("nodes")["nodes"]) == 1, 10)
    # Ray places nothing any more, so the keeper starts what dies on its own host.
    other = next(f"single/{n}" for n in range(3) if f"single/{n}" != away)
    driver.tell(f"kill {other}")
    assert until(lambda: driver.tell("where")[other][1:] != where[other][1:], 5)
    assert until(lambda: driver.tell("where")[other][1] == "up", 10)
    assert until(lambda: driver.tell("report")["single"]["full_now"], 5)
