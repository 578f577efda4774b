"""How long work says how far it is; the command line draws it, programs may ignore it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Stages, one after the other, each of so many steps."""

    def stage(self, what: str, total: int | None) -> None:
        """A stage begins; `total` is None where nobody knows."""
        ...

    def advance(self, steps: int = 1) -> None:
        """So many steps of the stage are done."""
        ...


class Silent:
    """Says nothing."""

    def stage(self, what: str, total: int | None) -> None:
        """See `Progress`."""

    def advance(self, steps: int = 1) -> None:
        """See `Progress`."""
