"""Progress as bars on stderr, one a stage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Drawn:
    """Draws stages as they come; the bar of a stage stays when the next begins."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task: TaskID | None = None

    def stage(self, what: str, total: int | None) -> None:
        """A stage begins."""
        self.end()
        self._task = self._bars.add_task(what, total=total)

    def advance(self, steps: int = 1) -> None:
        """So many steps of the stage are done."""
        if self._task is not None:
            self._bars.advance(self._task, steps)

    def end(self) -> None:
        """The stage is over; one whose length nobody knew is now as long as it was."""
        if self._task is not None:
            done = self._bars.tasks[self._bars.task_ids.index(self._task)].completed
            self._bars.update(self._task, total=done)
            self._task = None


@contextmanager
def drawn() -> Iterator[Drawn]:
    """Bars on stderr while the block runs; nothing at all where stderr is not a terminal."""
    console = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description:<20}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    with bars:
        progress = Drawn(bars)
        yield progress
        progress.end()
