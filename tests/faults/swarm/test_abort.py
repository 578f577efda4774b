"""An operator's abort without a launcher: one command lands everyone."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flights import flight_over, until

pytest.importorskip("zenoh")

from sextant.cli.main import main
from sextant.systems.swarm.mission import start


@pytest.mark.timeout(200)
def test_an_operator_lands_a_flight_whose_launcher_is_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flight = flight_over(tmp_path, 40, drones=2, most_s=300.0)
    launcher = subprocess.Popen(
        [sys.executable, "-P", "-m", start.__name__, str(tmp_path)], stdout=subprocess.PIPE
    )
    handles: list[int] = []
    try:
        assert launcher.stdout is not None
        pids: dict[str, Any] = json.loads(launcher.stdout.readline())
        handles += [os.pidfd_open(pid) for pid in pids.values()]
        flight.listen()
        until(lambda: flight.truth() is not None, "no flight")
        launcher.kill()
        words = ["swarm", "abort", "--config", str(tmp_path), "--within", "120 s", "--json"]
        assert main(words) == 0
        told = json.loads(capsys.readouterr().out)
        assert told == {"flight": str(tmp_path), "down": [0, 1], "silent": []}
        until(lambda: (tmp_path / "world.json").exists(), "the physics does not end")
        until(lambda: len(list(tmp_path.glob("drone-?.json"))) == 2, "no reports")
        assert flight.figures()["aborted"]
        # Now it is over: who aborts it again lands nobody, and is told so.
        assert main(["swarm", "abort", "--config", str(tmp_path)]) == 4
        assert "already over: 2 of 2 drones had landed before" in capsys.readouterr().err
    finally:
        launcher.kill()
        launcher.communicate()
        for handle in handles:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            os.close(handle)
        flight.close()
    result = json.loads((tmp_path / "world.json").read_bytes())
    assert (result["landed"], result["lost"], result["collisions"]) == (2, [], [])
    reports = [json.loads((tmp_path / f"drone-{name}.json").read_bytes()) for name in (0, 1)]
    assert [report["aborted"] for report in reports] == [True, True]
