"""Every law of training has a docstring with its source, and asks for nothing of the world."""

from __future__ import annotations

import ast
import importlib
import inspect

import pytest

LAWS = (
    "activations",
    "attention",
    "collectives",
    "failures",
    "layer",
    "matmul",
    "memory",
    "optimizer",
    "pipeline",
    "step",
    "traffic",
    "wan",
    "weights",
)
ASKS_THE_WORLD = {"open", "input", "print"}
WORLD = {"os", "sys", "time", "datetime", "random", "pathlib", "socket", "subprocess"}


@pytest.mark.parametrize("name", LAWS)
def test_each_law_names_its_source(name: str) -> None:
    module = importlib.import_module(f"sextant.laws.{name}")
    for function_name, function in inspect.getmembers(module, inspect.isfunction):
        if function.__module__ == module.__name__ and not function_name.startswith("_"):
            assert function.__doc__, function_name
            assert "Source:" in function.__doc__, function_name


@pytest.mark.parametrize("name", [*LAWS, "layouts", "mesh", "job", "shape", "spread"])
def test_no_law_reads_a_clock_or_a_file(name: str) -> None:
    module = importlib.import_module(f"sextant.laws.{name}")
    tree = ast.parse(inspect.getsource(module))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert not {alias.name.split(".")[0] for alias in node.names} & WORLD
        if isinstance(node, ast.ImportFrom) and node.module:
            assert node.module.split(".")[0] not in WORLD
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ASKS_THE_WORLD
