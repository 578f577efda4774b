"""The reading process: `python -m sextant.systems.rag.untrusted.child MEMORY_BYTES`.

It is told a file at a time on its standard input, and answers with a line of messages: documents
(as records) or pages, troubles, and at last `end`, or `error` with the reason.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sextant.errors import SextantError
from sextant.systems.rag.untrusted.messages import packed, read

Message = tuple[str, Any]
Reader = Callable[[Path, dict[str, Any]], Iterator[Message]]


def main() -> None:
    """Serves until its standard input ends."""
    memory_bytes = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    # The standard library of a parser may print; the answers must stay readable.
    out, sys.stdout = sys.stdout.buffer, sys.stderr
    while (asked := read(sys.stdin.buffer)) is not None:
        for message in _answers(asked["kind"], Path(asked["path"]), asked["options"]):
            out.write(packed(message))
            out.flush()


def _answers(kind: str, path: Path, options: dict[str, Any]) -> Iterator[Message]:
    try:
        yield from _reader(kind)(path, options)
    except SextantError as error:
        yield "engine" if error.exit_code == 4 else "error", [error.what, error.hint]
    except MemoryError:
        yield "error", ["takes too much memory to read", None]
    except RecursionError:
        yield "error", ["is nested too deeply", None]
    except Exception as error:  # noqa: BLE001
        # Whatever a parser raises for a hostile file is about that file.
        reason = str(error).splitlines() or [type(error).__name__]
        yield "error", [f"is broken: {reason[0][:200]}", None]
    else:
        yield "end", None


def _reader(kind: str) -> Reader:
    if kind == "pdf":
        from sextant.systems.rag.untrusted.pdf import read_pdf

        return read_pdf
    from sextant.systems.rag.untrusted.parquet import read_parquet

    return read_parquet


if __name__ == "__main__":
    main()
