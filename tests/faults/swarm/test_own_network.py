"""Each drone on a host of its own (a network namespace): who is cut off loses its peers' words,
and nothing else; the others lose its words, and nothing else.

The bus between a drone and its body is no radio: it goes over a socket on the file system.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flights import flight_over, until
from hosts import Host, Switch, hosts

pytest.importorskip("zenoh")

from sextant.fleet import wire
from sextant.systems.swarm.mission.orders import DroneOrders, WorldOrders, publish, read_orders
from sextant.systems.swarm.mission.wire import Keys, unpack

DRONES, PORT, CUT = 3, 7447, 2


@contextlib.contextmanager
def flying(folder: Path, found: list[Host]) -> Iterator[dict[int, dict[str, Any]]]:
    """A mission with each drone on its host; yields what each told last."""
    plan = flight_over(folder, 50, drones=DRONES, most_s=120.0)
    bus, ground = (f"unixsock-stream/{folder}/{name}.sock" for name in ("bus", "ground"))
    world = read_orders(folder / "world.orders.json", WorldOrders)
    orders = {"simulate": world.model_copy(update={"listen": bus})}
    radio = [f"udp/{host.address}:{PORT}" for host in found]
    commands = {"simulate": ["env"]}
    for name, host in enumerate(found):
        drone = read_orders(folder / f"drone-{name}.orders.json", DroneOrders)
        peers = [bus, ground, *radio[:name]]
        update = {"listen": radio[name], "peers": peers}
        orders[f"drone-{name}"] = drone.model_copy(update=update)
        commands[f"drone-{name}"] = host.command("env")
    told: dict[int, dict[str, Any]] = {}

    def hear(sample: Any) -> None:
        telling = unpack(sample.payload.to_bytes())
        told[telling["name"]] = telling

    with contextlib.ExitStack() as stack:
        session = wire.peer(ground, [bus])
        stack.callback(session.close)
        keys = Keys(plan.mission)
        hearing = session.declare_subscriber(keys.tellings, wire.direct(hear))
        for name, one in orders.items():
            path = folder / f"{name}.json.orders"
            publish(path, one.model_dump())
            kind = name.partition("-")[0]
            words = [sys.executable, "-P", "-m", "sextant", "swarm", kind, "--config", str(path)]
            process = subprocess.Popen([*commands[name], *words], env=os.environ)
            stack.callback(process.wait, 10)
            stack.callback(process.kill)
        yield told
        del hearing


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[tuple[dict[int, dict[str, Any]], Switch]]:
    with contextlib.ExitStack() as stack:
        try:
            found, switch = stack.enter_context(hosts(DRONES))
        except PermissionError as error:
            pytest.skip(f"no hosts of network namespaces here: {error}")
        yield stack.enter_context(flying(tmp_path, found)), switch


@pytest.mark.timeout(200)
def test_cutting_a_drone_s_link_changes_its_own_inputs_only(
    stage: tuple[dict[int, dict[str, Any]], Switch],
) -> None:
    told, switch = stage
    names = range(DRONES)

    def hears() -> dict[int, list[int]]:
        return {name: told[name]["hears"] for name in told}

    everybody = {name: [other for other in names if other != name] for name in names}
    until(lambda: hears() == everybody, "not all hear all")
    switch.cut(CUT)
    apart = {0: [1], 1: [0], CUT: []}
    until(lambda: hears() == apart, "the cut is not seen where it is, or elsewhere")
    # All of them, the one that is cut off too, still have their own readings, and act.
    then_s = {name: told[name]["at_s"] for name in names}
    until(lambda: all(told[n]["at_s"] > then_s[n] + 1.0 for n in names), "readings stopped")
    assert hears() == apart
    assert {one["phase"] for one in told.values()} == {"search"}
    switch.mend(CUT)
    until(lambda: hears() == everybody, "who was cut off does not come back")
