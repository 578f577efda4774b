"""One hierarchy of errors, one exit code each.

SextantError          1   a bug, unless a subclass says otherwise
├── InputError        2   what the user wrote is wrong
├── InfeasibleError   3   the workload cannot be met; names the tightest constraint
└── EngineError       4   an engine failed or is not installed
"""

from __future__ import annotations


class SextantError(Exception):
    """What went wrong, where (`file: table.field`), and what to do about it."""

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


class InputError(SextantError):
    """The user's input is wrong."""

    exit_code = 2


class InfeasibleError(SextantError):
    """No layout meets the workload; `what` names the tightest constraint."""

    exit_code = 3


class EngineError(SextantError):
    """An engine (torch, ray, faiss, zenoh, flwr) failed or is missing."""

    exit_code = 4


def missing_engine(engine: str, extra: str) -> EngineError:
    """The error for an engine that is not installed, with the extra that brings it."""
    return EngineError(f"{engine} is not installed", hint=f"pip install 'sextant[{extra}]'")
