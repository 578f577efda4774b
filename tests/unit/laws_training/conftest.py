"""Machines and constants that ship, for the tests of the training laws."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sextant.cli import backtest, calibrate
from sextant.cli.main import Parser, guarded
from sextant.facts import load_facts
from sextant.facts.training import load_training_facts
from sextant.laws.accelerator import Accelerator
from sextant.laws.constants import Constants
from sextant.laws.machine import accelerator_of, constants_of
from sextant.laws.shape import TransformerShape

Command = Callable[[list[str]], int]


@pytest.fixture
def sextant() -> Command:
    """The two commands of this room, as `sextant` runs them."""

    def run(arguments: list[str]) -> int:
        parser = Parser(prog="sextant")
        commands = parser.add_subparsers(required=True, parser_class=Parser)
        for command in (backtest, calibrate):
            command.add_parser(commands)
        args = parser.parse_args(arguments)
        return guarded(lambda: int(args.run(args)), debug=False)

    return run


@pytest.fixture(scope="session")
def constants() -> Constants:
    return constants_of(load_training_facts())


@pytest.fixture(scope="session")
def h100() -> Accelerator:
    return accelerator_of(load_facts().machine("h100"), load_training_facts())


@pytest.fixture(scope="session")
def a100() -> Accelerator:
    return accelerator_of(load_facts().machine("a100"), load_training_facts())


@pytest.fixture(scope="session")
def llama_8b() -> TransformerShape:
    return TransformerShape(
        layers=32,
        hidden=4096,
        heads=32,
        kv_heads=8,
        ffn=14336,
        vocab=128_256,
        sequence=8192,
    )


@pytest.fixture(scope="session")
def gpt_175b() -> TransformerShape:
    return TransformerShape(
        layers=96,
        hidden=12288,
        heads=96,
        kv_heads=96,
        ffn=49152,
        vocab=51200,
        sequence=2048,
        mlp="gelu",
        tied_embeddings=True,
    )


@pytest.fixture(scope="session")
def deepseek_v3() -> TransformerShape:
    return TransformerShape(
        layers=61,
        hidden=7168,
        heads=128,
        kv_heads=128,
        ffn=18432,
        vocab=129_280,
        sequence=4096,
        experts=256,
        active_experts=8,
        shared_experts=1,
        expert_ffn=2048,
        dense_layers=3,
        attention="mla",
        query_rank=1536,
        kv_rank=512,
        rope_head_dim=64,
        head_dim=128,
        value_head_dim=128,
    )
