"""Every law of training has a docstring with its source, and asks for nothing of the world."""

from __future__ import annotations

import ast
import importlib
import inspect
from itertools import pairwise
from pathlib import Path

import pytest

from sextant import laws

LAWS = (
    "activations",
    "attention",
    "collectives",
    "experts",
    "failures",
    "gradients",
    "layer",
    "matmul",
    "memory",
    "optimizer",
    "overlap",
    "pipeline",
    "serving",
    "step",
    "traffic",
    "wan",
    "weights",
)
HERE = Path(laws.__file__).parent
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


def numbers_of(module: ast.Module) -> list[tuple[str, float, str]]:
    """Module-level numbers: name, value, and the docstring below."""
    found = []
    for node, below in pairwise([*module.body, None]):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = node.value
            if isinstance(value, ast.Constant) and isinstance(value.value, float):
                told = ast.get_docstring(ast.Module([below], [])) if below else None
                found.append((node.targets[0].id, value.value, told or ""))
    return found


@pytest.mark.parametrize("law", [*LAWS, "layouts", "mesh", "job", "shape", "spread"])
def test_a_number_of_a_law_says_where_it_is_from(law: str) -> None:
    text = (HERE / f"{law}.py").read_text(encoding="utf-8")
    for name, _, told in numbers_of(ast.parse(text)):
        assert "Source" in told or "ssumption" in told, f"{law}.{name}: {told!r}"
