"""Every number that the training laws take from facts says where it is from."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from sextant.errors import InputError
from sextant.facts import load_facts
from sextant.facts.training import load_training_facts, with_constants
from sextant.laws.accelerator import Kernels
from sextant.laws.constants import Constants
from sextant.laws.machine import accelerator_of, constants_of, spread_of
from sextant.laws.spread import Spread

TRAINING = load_training_facts()
DATE = re.compile(r"20\d\d-\d\d-\d\d")


def test_every_constant_has_a_source_a_date_and_what_set_it() -> None:
    assert set(TRAINING.constant) == {f.name for f in fields(Constants)}
    for name, row in TRAINING.constant.items():
        assert row["source"], name
        assert row["set_by"], name
        assert DATE.fullmatch(row["date"]), name
        assert row["spread"] > 1.0, name
        assert row["prior"] > 0.0, name


def test_every_width_of_an_interval_has_a_source() -> None:
    assert set(TRAINING.spread) == {f.name for f in fields(Spread)}
    for name, row in TRAINING.spread.items():
        assert row["source"], name
        assert DATE.fullmatch(row["date"]), name
        assert 0.0 < row["value"] < 1.0, name


def test_every_generation_has_a_source_and_shares_below_one() -> None:
    for name, row in TRAINING.generation.items():
        assert row["source"], name
        assert DATE.fullmatch(row["date"]), name
        assert {f.name for f in fields(Kernels)} <= set(row), name
        assert all(0.0 < share < 1.0 for share in row["matmul_ceiling"].values()), name
        shares = [v for k, v in row.items() if "attention" in k]
        assert all(0.0 < share < 1.0 for share in shares), name


def test_constants_stay_near_what_benchmarks_say() -> None:
    for name, row in TRAINING.constant.items():
        within = row["spread"] ** 2.5
        assert row["prior"] / within <= row["value"] <= row["prior"] * within, name


def test_every_accelerator_node_has_curves_of_its_own() -> None:
    listed = [m for row in TRAINING.generation.values() for m in row["machines"]]
    assert len(listed) == len(set(listed))
    nodes = {n for n, m in load_facts().machines.items() if m.kind == "accelerator-node"}
    assert nodes == set(listed)


def test_a_machine_that_nobody_measured_takes_the_best_known_curves() -> None:
    machine = load_facts().machine("edge-drone")
    found = accelerator_of(machine, TRAINING)
    assert found.kernels.processors == TRAINING.generation["hopper"]["processors"]
    assert found.peak("fp8") == machine.peak_flops_per_s["bf16"]
    assert 0.0 < found.ceiling("fp4") < 1.0


def test_what_ships_is_what_the_laws_take() -> None:
    assert constants_of(TRAINING).matmul_share == TRAINING.constant["matmul_share"]["value"]
    assert spread_of(TRAINING).compute == TRAINING.spread["compute"]["value"]


def test_a_user_s_links_and_domain_replace_the_machine_s() -> None:
    machine = load_facts().machine("gb200")
    plain = accelerator_of(machine, TRAINING)
    assert plain.network_bytes_per_s == pytest.approx(50e9)
    own = accelerator_of(machine, TRAINING, fast_domain=72, node_link_bytes_per_s=72 * 25e9)
    assert own.network_bytes_per_s == pytest.approx(25e9)


def test_constants_of_a_file_replace_those_that_ship(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[constant.matmul_share]\nvalue = 0.5\nset_by = "me"\n')
    found = with_constants(TRAINING, path)
    assert constants_of(found).matmul_share == 0.5
    assert constants_of(found).kernel_s == constants_of(TRAINING).kernel_s


@pytest.mark.parametrize(
    "text", ["", "no toml", "[constant.nonsense]\nvalue = 1.0\n", "[constant.kernel_s]\nx = 1\n"]
)
def test_a_file_that_holds_no_constants_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError):
        with_constants(TRAINING, path)
