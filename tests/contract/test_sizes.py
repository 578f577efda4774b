"""A file that passes 400 lines is asking to be two, and a long function likewise."""

import ast
from pathlib import Path

import sextant

ROOT = Path(sextant.__file__).parent
TREES = {
    str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(ROOT.rglob("*.py"))
}
LONGEST_FILE, LONGEST_FUNCTION = 400, 60

Function = ast.FunctionDef | ast.AsyncFunctionDef


def code_lines(node: Function) -> int:
    """Lines of a function without its docstring."""
    first = node.body[0]
    doc = _lines(first) if ast.get_docstring(node) is not None else 0
    return _lines(node) - doc


def _lines(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def functions() -> dict[str, int]:
    return {
        f"{path}: {node.name}": code_lines(node)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, Function)
    }


def test_no_file_is_too_long() -> None:
    lengths = {path: len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in TREES}
    assert not {path: n for path, n in lengths.items() if n > LONGEST_FILE}


def test_no_function_is_too_long() -> None:
    assert not {name: n for name, n in functions().items() if n > LONGEST_FUNCTION}


def test_most_functions_are_short() -> None:
    lengths = sorted(functions().values())
    assert lengths[len(lengths) // 2] <= 15
    assert lengths[int(0.95 * len(lengths))] <= 50


def test_every_module_and_public_name_says_what_it_is() -> None:
    silent = []
    for path, tree in TREES.items():
        if tree.body and not ast.get_docstring(tree):
            silent.append(path)
        silent += [
            f"{path}: {node.name}"
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and not node.name.startswith("_")
            and not ast.get_docstring(node)
        ]
    assert not silent


def test_names_say_what_they_hold() -> None:
    vague = {"utils", "util", "common", "helpers", "helper", "manager", "misc"}
    assert not [path for path in TREES if Path(path).stem in vague]
