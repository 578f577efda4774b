"""The probe keeps a machine that reads back equal, and leaves out what no engine measures."""

import sys
from pathlib import Path

import pytest

from sextant.cli.probe import show_measured
from sextant.errors import InputError
from sextant.facts import Facts, Machine, load_facts
from sextant.facts.probe import HERE, compute, keep, run, run_probe, system
from sextant.facts.probe.pace import pace
from sextant.facts.probe.timing import median_s, repeat_s

MEASURED = {
    "memory_read_bytes_per_s": 1.25e10,
    "matmul_fp32_flops_per_s": 2.5e11,
    "disk_write_bytes_per_s": 3e8,
    "loopback_bytes_per_s": 2e9,
    "fsync_s": 1.0 / 3,
}


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> tuple[Machine, list[str]]:
    """This machine with every microbenchmark stubbed, and the names that progress was told."""
    for module, names in (
        (compute, ("memory", "matmul", "index_scan")),
        (system, ("disk", "loopback", "processes")),
    ):
        for name in names:
            monkeypatch.setattr(module, name, lambda *_: dict(MEASURED))
    monkeypatch.setattr(run, "pace", lambda _cores: {"wire_base_s": 1e-4})
    told: list[str] = []
    machine = run_probe("2026-11-22", lambda name, _number, _total: told.append(name))
    return machine, told


def test_this_machine_is_made_of_what_was_measured(probed: tuple[Machine, list[str]]) -> None:
    machine, told = probed
    assert machine.name == HERE
    assert machine.units == 1
    assert dict(machine.peak_flops_per_s) == {"fp32": 2.5e11}
    assert machine.memory_bandwidth_bytes_per_s == 1.25e10
    assert machine.disk_bandwidth_bytes_per_s == 3e8
    assert machine.network_bytes_per_s == 2e9
    assert machine.memory_bytes > 1e8
    assert told[-1] == "done"
    assert len(told) == len(set(told)) == 8


def test_a_kept_machine_reads_back_equal(probed: tuple[Machine, list[str]]) -> None:
    machine, _ = probed
    path = keep(machine)
    assert load_facts().machine(HERE) == machine
    assert not list(path.parent.glob("*.tmp"))


def test_probing_again_replaces_what_was_kept(probed: tuple[Machine, list[str]]) -> None:
    machine, _ = probed
    keep(machine)
    first = load_facts()
    assert keep(machine).read_text(encoding="utf-8")
    assert load_facts() is not first


def test_a_home_that_cannot_be_written_is_said_to_be_so(
    probed: tuple[Machine, list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder", encoding="utf-8")
    monkeypatch.setenv("SEXTANT_HOME", str(blocked))
    with pytest.raises(InputError, match=r"file|directory"):
        keep(probed[0])


def test_without_an_engine_its_own_measurements_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for engine in ("torch", "faiss", "zenoh"):
        monkeypatch.setitem(sys.modules, engine, None)
    monkeypatch.setattr(compute, "median_s", lambda call, *, for_s: call() is None or for_s)
    assert compute.index_scan() == {}
    assert compute.batch_flops_per_s(1) == {}
    assert pace(1) == {}
    assert set(compute.matmul(1)) == {"matmul_fp32_flops_per_s"}


def test_the_loopback_answers() -> None:
    found = system.loopback()
    assert 1e-7 < found["loopback_round_trip_s"] < 0.5
    assert found["loopback_bytes_per_s"] > 1e5


def test_the_pace_is_of_all_that_a_rehearsal_stands_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sextant.facts.probe.pace._ROUNDS", 1)
    monkeypatch.setattr("sextant.facts.probe.pace._TURN_S", 0.1)
    for engine in ("faiss", "torch", "zenoh", "msgpack"):
        pytest.importorskip(engine)
    found = pace(1)
    assert all(value >= 0 for value in found.values())
    assert found["wire_base_s"] + found["wire_per_member_s"] > 1e-6
    assert 0 < found["woken_search_s"] < 0.1
    assert 0 < found["merge_base_s"] < 0.1
    assert 0 <= found["merge_per_reply_s"] < 0.1
    assert found["encoder_fp32_flops_per_s"] > 1e8
    assert 0 < found["encoder_fp32_short_layer_s"] < 1


def test_times_come_sorted_and_at_least_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(1000))
    monkeypatch.setattr("sextant.facts.probe.timing.time.perf_counter", lambda: float(next(ticks)))
    calls: list[int] = []
    times = repeat_s(lambda: calls.append(1), for_s=0.0, at_least=4)
    assert len(times) == 4
    assert times == sorted(times)
    assert len(calls) == 6, "two first calls are thrown away"


def test_the_median_is_of_the_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 0.0, 9.0, 9.0, 10.0, 10.0, 12.0, 12.0, 13.0, 13.0, 18.0, 18.0, 99.0])
    monkeypatch.setattr("sextant.facts.probe.timing.time.perf_counter", lambda: next(ticks))
    assert median_s(lambda: None, for_s=0.0) == 2.0


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("memory_read_bytes_per_s", 1.25e10, "12.5 GB/s"),
        ("matmul_fp32_flops_per_s", 2.5e11, "250 GFLOP/s"),
        ("process_memory_bytes", 1.3e8, "130 MB"),
        ("fsync_s", 0.0015, "1.5 ms"),
        ("wire_log_sigma", 0.25, "0.25"),
    ],
)
def test_a_unit_cost_is_shown_in_its_unit(name: str, value: float, text: str) -> None:
    assert show_measured(name, value) == text


def test_the_name_here_is_free_for_the_user(facts: Facts) -> None:
    assert run.HERE not in facts.machines
