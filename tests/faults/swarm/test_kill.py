"""Nothing is central: the launcher is killed, then a drone, and the rest finish the mission."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("zenoh")

LAUNCHER = """
import json, sys, time
from pathlib import Path
from sextant.systems.swarm.mission.launch import Flight
flight = Flight(Path(sys.argv[1]), Path(sys.argv[2]), cell_m=1.0, drones=3, targets=2, loss=0.2,
                seed=1, most_s=60.0)
flight.start()
while (frame := flight.frame()) is None or frame["at_s"] < 2.0:
    time.sleep(0.05)
print(json.dumps({name: process.pid for name, process in flight.processes.items()}), flush=True)
time.sleep(60.0)
"""
CELLS = 14


def await_file(path: Path, within_s: float) -> dict[str, object]:
    until_s = time.monotonic() + within_s
    while not path.exists():
        assert time.monotonic() < until_s, f"no {path.name}"
        time.sleep(0.1)
    return dict(json.loads(path.read_bytes()))


@pytest.mark.timeout(180)
def test_the_rest_finish_without_their_launcher_and_without_a_drone(tmp_path: Path) -> None:
    rows = "\n".join(["." * CELLS] * CELLS)
    field = tmp_path / "field.map"
    field.write_text(f"type octile\nheight {CELLS}\nwidth {CELLS}\nmap\n{rows}\n")
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(field), str(tmp_path)], stdout=subprocess.PIPE
    )
    handles: dict[str, int] = {}
    try:
        assert launcher.stdout is not None
        pids = json.loads(launcher.stdout.readline())
        # By handle: the number of a process that has ended may be another's by then.
        handles.update((name, os.pidfd_open(pid)) for name, pid in pids.items())
        launcher.kill()
        signal.pidfd_send_signal(handles["drone-1"], signal.SIGKILL)
        result = await_file(tmp_path / "world.json", 120.0)
        reports = [await_file(tmp_path / f"drone-{name}.json", 20.0) for name in (0, 2)]
    finally:
        launcher.kill()
        launcher.communicate()
        for handle in handles.values():
            # They are nobody's children now; one that has ended needs no end.
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            os.close(handle)
    assert result["lost"] == [1]
    assert result["landed"] == 3
    assert result["collisions"] == []
    seen = {cell for report in reports for cell in report["seen"]}  # type: ignore[attr-defined]
    assert len(seen) >= 0.9 * CELLS * CELLS
    assert [report["phase"] for report in reports] == ["landed", "landed"]
