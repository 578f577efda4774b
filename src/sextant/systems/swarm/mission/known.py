"""What those of a flight know to be seen who were not lost: what only the dead knew is lost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


class Known:
    """The cells of each mind, and of all that were not lost."""

    def __init__(self, cells: int) -> None:
        """Nobody knows any of so many cells."""
        self.seen_C = np.zeros(cells, np.bool_)
        self._lost = frozenset[int]()
        self._of: dict[int, np.ndarray] = {}

    def hear(self, mind: int, cells: Sequence[int]) -> None:
        """A mind knows these cells, too."""
        if mind not in self._of:
            self._of[mind] = np.zeros_like(self.seen_C)
        self._of[mind][cells] = True
        if mind not in self._lost:
            self.seen_C[cells] = True

    def lose(self, lost: Iterable[int]) -> None:
        """These minds are lost, all in all."""
        if (now := frozenset(lost)) == self._lost:
            return
        self._lost = now
        left = [seen_C for mind, seen_C in self._of.items() if mind not in now]
        self.seen_C = np.any(left, axis=0) if left else np.zeros_like(self.seen_C)
