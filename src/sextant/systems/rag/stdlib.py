"""The documentation that every Python carries: docstrings of the standard library, and the help
topics.

Modules are read as source with `ast` and never imported: importing all of them has effects (`this`
prints, `antigravity` opens a browser) and takes a display. One document a topic, a module or a
public class.
"""

from __future__ import annotations

import ast
import re
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sextant.systems.rag.document import Document

_LEAVE_OUT = frozenset(
    {
        "site-packages",
        "dist-packages",
        "test",
        "tests",
        "idle_test",
        "idlelib",
        "lib2to3",
        "turtledemo",
    }
    | {"pydoc_data", "ensurepip", "this", "antigravity", "lib-dynload", "__main__"}
)
_RULE = re.compile(r"^[*=\-~^]{3,}\n", re.MULTILINE)


def read_stdlib(root: Path | None = None) -> Iterator[Document]:
    """The documents: topics first, then modules and their classes by depth (`json` before
    `json.decoder`).

    Args:
        root: another folder of modules to read in place of this Python's own.
    """
    if root is None:
        yield from _topics()
        root = Path(sysconfig.get_paths()["stdlib"])
    for name, path in sorted(_modules(root), key=lambda pair: (pair[0].count("."), pair[0])):
        yield from _module(name, path)


def _topics() -> Iterator[Document]:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        # Some distributions of Python leave the topics out.
        return
    for name in sorted(topics):
        text = _RULE.sub("", topics[name]).strip()
        title = text.partition("\n")[0].strip() or name
        yield Document(f"topic/{name}", f"Python: {title}", text)


def _modules(root: Path) -> Iterator[tuple[str, Path]]:
    """Public modules with their dotted names."""
    for path in root.rglob("*.py"):
        parts = list(path.relative_to(root).with_suffix("").parts)
        if parts[-1] == "__init__" and len(parts) > 1:
            parts.pop()
        hidden = any(part.startswith("_") and part != "__future__" for part in parts)
        if not hidden and not _LEAVE_OUT.intersection(parts) and all(map(str.isidentifier, parts)):
            yield ".".join(parts), path


@dataclass(frozen=True, slots=True)
class _Entry:
    """A definition's name with its arguments, and its docstring."""

    head: str
    body: str

    def __str__(self) -> str:
        return f"{self.head}\n{self.body}" if self.body else self.head


def _module(name: str, path: Path) -> Iterator[Document]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return
    own = ast.get_docstring(tree) or ""
    text = _text(own, [entry for node in tree.body if (entry := _function(node)) is not None])
    if text:
        yield Document(f"stdlib/{name}", f"{name} (module)", text)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            methods = [entry for part in node.body if (entry := _function(part)) is not None]
            if text := _text(ast.get_docstring(node) or "", methods):
                yield Document(f"stdlib/{name}.{node.name}", f"{name}.{node.name} (class)", text)


def _text(own: str, entries: list[_Entry]) -> str:
    """A docstring followed by the documented definitions, or nothing if none is documented."""
    parts = [own.strip(), *(str(entry) for entry in entries if entry.body)]
    return "\n\n".join(part for part in parts if part)


def _function(node: ast.stmt) -> _Entry | None:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    if node.name.startswith("_") and node.name != "__init__":
        return None
    return _Entry(f"{node.name}({ast.unparse(node.args)})", (ast.get_docstring(node) or "").strip())
