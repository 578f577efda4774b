"""Every row has its source and date, and a machine's numbers hang together."""

import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import sextant.facts
from sextant.errors import InputError
from sextant.facts import Facts, Machine, home, load_facts

HERE = Path(sextant.facts.__file__).parent
ROWS = sorted(HERE.glob("*.toml"))


def leaf_rows(table: dict[str, Any], path: str) -> list[tuple[str, dict[str, Any]]]:
    """The tables that hold numbers, at any depth: each is one row."""
    found = []
    if any(
        isinstance(value, int | float) and not isinstance(value, bool) for value in table.values()
    ):
        return [(path, table)]
    for name, value in table.items():
        if isinstance(value, dict):
            found += leaf_rows(value, f"{path}.{name}")
    return found


def every_row() -> list[tuple[str, dict[str, Any]]]:
    return [
        row
        for path in ROWS
        for row in leaf_rows(tomllib.loads(path.read_text(encoding="utf-8")), path.stem)
    ]


def test_there_are_rows_of_machines_links_failures_and_prices() -> None:
    stems = {path.split(".")[0] for path, _ in every_row()}
    assert {"machines", "links", "failures", "constants", "training"} <= stems


@pytest.mark.parametrize("file", sorted({path.split(".")[0] for path, _ in every_row()}))
def test_a_row_has_a_source_and_a_date(file: str) -> None:
    for path, row in every_row():
        if not path.startswith(f"{file}."):
            continue
        source = row.get("source", "")
        assert len(source) >= (25 if source.startswith("assumption") else 10), f"{path}: {source!r}"
        assert date.fromisoformat(row["date"]).year >= 1990, path


def test_a_value_lies_between_its_bounds_and_has_the_unit_of_its_name() -> None:
    for path, row in every_row():
        value = row.get("value")
        if not isinstance(value, int | float):
            continue
        assert row.get("low", value) <= value <= row.get("high", value), path
        if row.get("unit") == "fraction":
            assert 0 <= value <= 1, path
        if path.endswith("_per_s"):
            assert row["unit"].endswith("/s"), path
        elif path.endswith("_s"):
            assert row["unit"] == "s", path


def test_no_two_files_tell_the_same_fact(facts: Facts) -> None:
    names = [
        path.split(".", 1)[1]
        for path, row in every_row()
        if "value" in row and not path.startswith(("training.", "rehearsal."))
    ]
    assert sorted(names) == sorted(set(names))
    assert set(names) <= set(facts.rows)


def test_every_machine_hangs_together(facts: Facts) -> None:
    for machine in facts.machines.values():
        check_machine(machine)


def check_machine(machine: Machine) -> None:
    assert machine.price_source
    assert machine.price_usd_per_hour > 0
    for value in (
        machine.cores,
        machine.memory_bytes,
        machine.memory_bandwidth_bytes_per_s,
        machine.disk_bytes,
        machine.disk_bandwidth_bytes_per_s,
        machine.network_bytes_per_s,
        machine.unit_memory_bytes,
        machine.unit_bandwidth_bytes_per_s,
        machine.flops_per_s("bf16"),
    ):
        assert value > 0
    if machine.accelerators:
        assert machine.accelerator_bandwidth_bytes_per_s >= machine.memory_bandwidth_bytes_per_s / 8
        assert machine.fast_domain >= 1
    peak = machine.peak_flops_per_s
    assert list(peak.values()), "no peak at all"
    if {"bf16", "fp32"} <= peak.keys():
        assert peak["bf16"] >= peak["fp32"]
    if {"bf16", "fp8"} <= peak.keys():
        assert peak["fp8"] == pytest.approx(2 * peak["bf16"], rel=0.01)


def test_the_machines_that_the_design_names_are_there(facts: Facts) -> None:
    for name in ("a100-40gb", "a100-80gb", "h100", "h200", "h800", "b200", "b300", "gb200"):
        assert facts.machine(name).accelerators >= 4
    assert facts.machine("gb300").fast_domain == 72
    assert facts.machine("cpu-server").accelerators == 0
    assert facts.machine("edge-drone").kind == "edge"


def test_published_figures_stand_as_published(facts: Facts) -> None:
    """NVIDIA's data sheets: dense bf16, memory (GiB in truth) and its bandwidth, NVLink one way."""
    for name, flops, memory, bandwidth, link in (
        ("a100-40gb", 312e12, 40, 1.555e12, 300e9),
        ("a100-80gb", 312e12, 80, 2.039e12, 300e9),
        ("h100", 989e12, 80, 3.35e12, 450e9),
        ("h200", 989e12, 141, 4.8e12, 450e9),
        ("b200", 2250e12, 180, 8e12, 900e9),
    ):
        machine = facts.machine(name)
        assert machine.flops_per_s("bf16") == pytest.approx(flops, rel=0.005)
        assert machine.accelerator_memory_bytes == pytest.approx(memory * 2**30, rel=0.03)
        assert machine.accelerator_bandwidth_bytes_per_s == pytest.approx(bandwidth, rel=0.01)
        assert machine.fast_link_bytes_per_s == link


def test_an_alias_is_the_machine_and_belongs_to_one_only(facts: Facts) -> None:
    assert facts.machine("h100") is facts.machines["h100-80gb-sxm"]
    aliases = [alias for machine in facts.machines.values() for alias in machine.aliases]
    assert len({*aliases, *facts.machines}) == len(aliases) + len(facts.machines)


def test_an_unknown_machine_is_met_with_the_nearest(facts: Facts) -> None:
    with pytest.raises(InputError) as caught:
        facts.machine("h1oo")
    assert caught.value.hint
    assert "did you mean 'h100'?" in caught.value.hint


def test_a_precision_that_a_chip_lacks_runs_at_the_next_wider_one(facts: Facts) -> None:
    a100 = facts.machine("a100")
    assert a100.flops_per_s("fp8") == a100.flops_per_s("int8")
    assert facts.machine("cpu-server").flops_per_s("bf16") == 10e12
    drone = facts.machine("edge-drone")
    assert drone.flops_per_s("tf32") == drone.flops_per_s("fp32") == 1.88e12


def test_a_machine_without_accelerators_computes_itself(facts: Facts) -> None:
    server = facts.machine("cpu-server")
    assert server.units == 1
    assert server.unit_memory_bytes == server.memory_bytes
    assert server.unit_bandwidth_bytes_per_s == server.memory_bandwidth_bytes_per_s
    node = facts.machine("h100")
    assert node.units == 8
    assert node.unit_memory_bytes == node.accelerator_memory_bytes > 80e9


KEPT = """
[here]
title = "mine"
kind = "cpu-server"
accelerators = 0
accelerator_memory_bytes = 0.0
accelerator_bandwidth_bytes_per_s = 0.0
peak_flops_per_s = { fp32 = 1e11 }
fast_link_bytes_per_s = 0.0
fast_domain = 1
cores = 2
memory_bytes = 8e9
memory_bandwidth_bytes_per_s = 1e10
disk_bytes = 1e11
disk_bandwidth_bytes_per_s = 1e9
network_bytes_per_s = 1e9
price_usd_per_hour = 0.0
source = "sextant probe"
date = "2026-11-22"
"""


def keep(text: str) -> Path:
    path = home() / "machines" / "here.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    load_facts.cache_clear()
    return path


def test_a_kept_machine_joins_those_that_ship() -> None:
    shipped = set(load_facts().machines)
    keep(KEPT)
    facts = load_facts()
    assert set(facts.machines) - shipped == {"here"}
    assert facts.machine("here").memory_bytes == 8e9


@pytest.mark.parametrize(
    "text",
    [
        "not toml",
        "x = 1",
        "[here]\ntitle = 'mine'",
        KEPT.replace("accelerators = 0\n", ""),
        KEPT.replace("cores = 2", "cores = 'two'"),
        KEPT.replace("memory_bytes = 8e9", "memory_bytes = -8e9"),
        KEPT.replace("memory_bytes = 8e9", "memory_bytes = 0"),
        KEPT.replace("disk_bytes = 1e11", "disk_bytes = nan"),
        KEPT.replace("{ fp32 = 1e11 }", "{}"),
        KEPT.replace("{ fp32 = 1e11 }", "{ fp32 = 'fast' }"),
    ],
    ids=range(10),
)
def test_a_kept_machine_that_was_spoilt_is_named_with_what_to_do(text: str) -> None:
    path = keep(text)
    with pytest.raises(InputError) as caught:
        load_facts()
    assert caught.value.where == str(path)
    assert caught.value.hint
    assert "sextant probe" in caught.value.hint


def test_home_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEXTANT_HOME", "/somewhere")
    assert home() == Path("/somewhere")
    monkeypatch.delenv("SEXTANT_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert home() == Path("/data/sextant")
    monkeypatch.delenv("XDG_DATA_HOME")
    assert home() == Path.home() / ".local" / "share" / "sextant"
