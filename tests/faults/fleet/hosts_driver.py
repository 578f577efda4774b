"""Drives a fleet over several hosts: asks all the time, and does what it is told line by line.

`python hosts_driver.py ADDRESS`: two gangs, the members of `single` once, those of `double` twice.
Every line in is one of `report`, `where`, `nodes` and `kill NAME`; every line out is JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from typing import Any

from sextant.fleet import Deadline, Fleet, Gang, MemberSpec

DEADLINE_S, HOSTS = 0.5, 3
ROLES = ("single", "double")


class Load:
    """One ask after the other at one gang, until it is closed."""

    def __init__(self, gang: Gang) -> None:
        self.gang = gang
        self._asked: list[tuple[float, float, list[str]]] = []
        self._why: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def report(self) -> dict[str, Any]:
        """What came since the last report: how many asks, how late the last, who was missing."""
        asked, self._asked = self._asked, []
        why, self._why = self._why, set()
        missing = Counter(name for *_, names in asked for name in names)
        partial_s = [at_s for at_s, _, names in asked if names]
        return {
            "asks": len(asked),
            "median_s": sorted(took for _, took, _ in asked)[len(asked) // 2] if asked else None,
            "latest_s": max((took for _, took, _ in asked), default=0.0),
            "missing": missing,
            "why": sorted(why)[:9],
            "partial": len(partial_s),
            "full_now": bool(asked) and not asked[-1][2],
        }

    def close(self) -> None:
        self._over.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._over.wait(0.01):
            start_s = time.monotonic()
            gather = self.gang.ask(b"query", Deadline.after(DEADLINE_S))
            names = [missing.member for missing in gather.missing]
            self._why |= {str(missing) for missing in gather.missing}
            self._asked.append((start_s, time.monotonic() - start_s, names))


def main() -> None:
    with Fleet.start(sys.argv[1]) as fleet:
        until_s = time.monotonic() + 30
        while len(fleet.nodes) < HOSTS and time.monotonic() < until_s:
            time.sleep(0.05)
        members = {
            role: [
                MemberSpec(name=f"{role}/{n}", factory="fleet_members:Echo") for n in range(HOSTS)
            ]
            for role in ROLES
        }
        gangs = {role: fleet.gang(role, members[role], ROLES.index(role) + 1) for role in ROLES}
        for gang in gangs.values():
            gang.ready(40)
        loads = {role: Load(gang) for role, gang in gangs.items()}
        say({"ready": True})
        for line in sys.stdin:
            match line.split():
                case ["report"]:
                    say({role: load.report() for role, load in loads.items()})
                case ["where"]:
                    seats = [seat for gang in gangs.values() for seat in gang.roster.seats.values()]
                    say({seat.name: [seat.node, seat.state, seat.epoch] for seat in seats})
                case ["nodes"]:
                    say({"nodes": fleet.nodes})
                case ["kill", name]:
                    pid = gangs[name.partition("/")[0]].pid(name)
                    assert pid is not None
                    os.kill(pid, signal.SIGKILL)
                    say({"killed": pid})
        for load in loads.values():
            load.close()


def say(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main()
