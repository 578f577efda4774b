from __future__ import annotations

import threading

import pytest

from sextant.axes import Axis
from sextant.fleet import Ledger


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_busy_charges_processor_time_and_waiting_the_rest() -> None:
    cpu, wall = Clock(), Clock()
    ledger = Ledger(cpu, wall)
    with ledger.busy(Axis.DATA):
        cpu.now_s, wall.now_s = 2.0, 5.0
    with ledger.waiting(Axis.COORDINATION):
        cpu.now_s, wall.now_s = 2.5, 10.0
    snapshot = ledger.snapshot()
    assert snapshot["data"] == {"busy_s": 2.0, "waiting_s": 0.0, "bytes": 0}
    assert snapshot["coordination"] == {"busy_s": 0.5, "waiting_s": 4.5, "bytes": 0}
    assert set(snapshot) == {"data", "coordination"}


def test_a_block_that_fails_is_charged_too() -> None:
    cpu = Clock()
    ledger = Ledger(cpu)

    def fail() -> None:
        cpu.now_s = 1.0
        raise KeyError

    with pytest.raises(KeyError), ledger.busy(Axis.DATA):
        fail()
    assert ledger.snapshot()["data"]["busy_s"] == 1.0


def test_the_lean_sums_to_one_for_busy_and_for_waiting_apart() -> None:
    ledger = Ledger()
    ledger.charge(Axis.DATA, busy_s=3.0)
    ledger.charge(Axis.INFERENCE, busy_s=1.0)
    ledger.charge(Axis.COORDINATION, waiting_s=7.0, bytes=9)
    assert ledger.lean() == {
        "busy": {"data": 0.75, "inference": 0.25},
        "waiting": {"coordination": 1.0},
    }
    assert Ledger().lean() == {"busy": {}, "waiting": {}}


def test_ledgers_and_snapshots_merge() -> None:
    ledger, other = Ledger(), Ledger()
    other.charge(Axis.MODEL, busy_s=1.0, waiting_s=2.0, bytes=3)
    ledger.merge(other)
    ledger.merge(other.snapshot())
    assert ledger.snapshot()["model"] == {"busy_s": 2.0, "waiting_s": 4.0, "bytes": 6}
    with pytest.raises(ValueError, match="time"):
        ledger.merge({"time": {"busy_s": 1.0}})


def test_no_charge_is_lost_between_threads() -> None:
    ledger = Ledger()

    def charge() -> None:
        for _ in range(1000):
            ledger.charge(Axis.DATA, bytes=1)

    threads = [threading.Thread(target=charge) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.snapshot()["data"]["bytes"] == 4000
