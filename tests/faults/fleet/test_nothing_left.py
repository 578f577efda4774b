"""However a driver ends, no process and no file of its fleet is left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.local_fleet import need

MEMBERS = Path(__file__).parents[2] / "integration" / "fleet"

DRIVER = """
import json, os, signal, sys, time
from sextant.fleet import Deadline, Fault, Fleet, MemberSpec
with Fleet.start(cpus=1) as fleet:
    factory = "fleet_members:Echo"
    gang = fleet.gang("echo", [MemberSpec(name=f"echo/{i}", factory=factory) for i in "ab"])
    gang.ready(60)
    assert gang.ask(b"x", Deadline.after(10)).full
    if "stopped" in sys.argv:
        assert gang.inject(Fault.parse("stop:echo/a@0s")).landed
    if "killed" in sys.argv:
        assert gang.inject(Fault.parse("kill:echo/a@0s")).landed
    print(json.dumps({"ready": True}), flush=True)
    if "raise" in sys.argv:
        raise ValueError("the driver fails")
    while "wait" in sys.argv:
        time.sleep(0.1)
"""


@dataclass(eq=False)
class Driver:
    """A driver in a process of its own, with a home and a temporary directory of its own."""

    mark: str
    home: Path
    temporary: Path
    process: subprocess.Popen[str]

    @classmethod
    def start(cls, *words: str) -> Driver:
        home, temporary = Path(tempfile.mkdtemp()), Path(tempfile.mkdtemp())
        mark = f"SEXTANT_TEST={home.name}"
        env = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "SEXTANT_"))}
        env |= {"SEXTANT_TEST": home.name, "HOME": str(home), "TMPDIR": str(temporary)}
        env |= {"PYTHONPATH": os.pathsep.join([str(MEMBERS), env.get("PYTHONPATH", "")])}
        process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, *words],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return cls(mark, home, temporary, process)

    def processes(self) -> list[str]:
        """What is left of its processes, by command line: by mark, and by logs held open."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                marked = self.mark.encode() in (entry / "environ").read_bytes().split(b"\0")
                if marked or any(map(self._is_inside, (entry / "fd").iterdir())):
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
        return found

    def _is_inside(self, descriptor: Path) -> bool:
        try:
            return str(descriptor.readlink()).startswith(str(self.temporary))
        except OSError:
            return False

    def left(self) -> list[str]:
        """Processes and files that are left."""
        roots = (self.home, self.temporary)
        return self.processes() + [str(path) for root in roots for path in root.iterdir()]

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        for root in (self.home, self.temporary):
            shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def start() -> Iterator[Callable[..., Driver]]:
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc")
    need()
    drivers: list[Driver] = []

    def start(*words: str) -> Driver:
        drivers.append(Driver.start(*words))
        return drivers[-1]

    yield start
    for driver in drivers:
        driver.end()


def test_a_driver_leaves_nothing_and_prints_nothing(
    start: Callable[..., Driver], until: Callable[[Callable[[], bool], float], bool]
) -> None:
    # All at once, because each spends most of its time starting.
    failing = start("killed", "raise")
    interrupted = start("wait")
    terminated = start("wait")
    killed = start("wait", "stopped")
    signals = {
        interrupted: signal.SIGINT,
        terminated: signal.SIGTERM,
        killed: signal.SIGKILL,
    }
    for driver in (failing, interrupted, terminated, killed):
        assert driver.process.stdout is not None
        line = driver.process.stdout.readline()
        assert json.loads(line) == {"ready": True}
        if driver in signals:
            driver.process.send_signal(signals[driver])
    ends = {}
    for driver in (failing, interrupted, terminated, killed):
        out, err = driver.process.communicate(timeout=60)
        assert out == "", "Ray is quiet"
        ends[driver.mark] = (driver.process.returncode, err.strip())
        # The janitor of a killed driver needs a moment of its own.
        assert until(lambda driver=driver: not driver.left(), 15), driver.left()
    assert ends[failing.mark][0] == 1
    assert ends[failing.mark][1].startswith("Traceback")
    assert ends[failing.mark][1].endswith("ValueError: the driver fails")
    assert ends[interrupted.mark][0] == -signal.SIGINT
    assert ends[interrupted.mark][1].endswith("KeyboardInterrupt")
    assert ends[terminated.mark][0] != 0
    assert ends[killed.mark] == (-signal.SIGKILL, "")
