"""Members for the tests of the fleet; imported in their own processes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from sextant.axes import Axis
from sextant.errors import SextantError
from sextant.fleet import Deadline, Member


class Echo(Member):
    """Answers with what it was asked."""

    def __init__(self, warm_s: float = 0.0) -> None:
        self._warm_s = warm_s

    def warm(self) -> None:
        time.sleep(self._warm_s)

    def handle(self, body: bytes, deadline: Deadline) -> bytes:
        del deadline
        with self.ledger.busy(Axis.DATA):
            self.ledger.charge(Axis.DATA, bytes=len(body))
            return body


class Obedient(Member):
    """Does what it is asked: sleeps, fails, or tells of itself."""

    def __init__(self) -> None:
        self._seen: list[str] = []

    def warm(self) -> None:
        self._seen.append("warm")

    def handle(self, body: bytes, deadline: Deadline) -> bytes:
        order = json.loads(body)
        self._seen.append(order["do"])
        if order["do"] == "sleep":
            time.sleep(order["s"])
        if order["do"] == "fail":
            raise SextantError("no such thing")
        if order["do"] == "crash":
            raise ZeroDivisionError("division by zero")
        told = {
            "seen": self._seen,
            "pid": os.getpid(),
            "env": dict(os.environ),
            "left_s": deadline.left_s(),
        }
        return json.dumps(told).encode()


class Torn(Member):
    """Refuses to serve."""

    def warm(self) -> None:
        raise SextantError("checksum of vectors.npy is wrong")

    def handle(self, body: bytes, deadline: Deadline) -> bytes:
        raise AssertionError(f"it never serves: {body!r}, {deadline}")


class Mortal(Member):
    """Dies while warming, as often as it is told; counts in a file because its memory dies too."""

    def __init__(self, notes: str, deaths: int) -> None:
        self._notes = Path(notes)
        self._deaths = deaths

    def warm(self) -> None:
        died = len(self._notes.read_text()) if self._notes.exists() else 0
        if died < self._deaths:
            self._notes.write_text("x" * (died + 1))
            os._exit(9)

    def handle(self, body: bytes, deadline: Deadline) -> bytes:
        del deadline
        return body
