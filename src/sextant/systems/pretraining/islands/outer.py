"""The outer optimizer: SGD with Nesterov's momentum on what the islands learned between exchanges.

Source: Douillard et al. 2023, arXiv 2311.08105, algorithm 1; Sutskever et al. 2013.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sextant.systems.pretraining.islands.quantize import Feedback, Vector
from sextant.systems.pretraining.islands.terms import Terms


class Outer:
    """The weights that all islands share, and how rounds move them.

    What islands hold is `shared`: it moves by what they were sent, rounding included, so all of
    them hold the same bits. `momentum` and what rounding owes stay here.
    """

    def __init__(self, weights: Vector, terms: Terms) -> None:
        self.shared, self.round = weights.copy(), 0
        self.momentum = np.zeros_like(weights)
        self._terms = terms
        self._feedback = Feedback(len(weights), terms.bits)

    def step(self, gradients: Sequence[Vector]) -> bytes:
        """Moves by the mean of the islands' outer gradients (weights before minus after).

        Returns:
            The move as the islands are sent it.
        """
        mean = np.mean(np.stack(gradients), axis=0, dtype=np.float32)
        terms = self._terms
        self.momentum = terms.momentum * self.momentum + mean
        ahead = mean + terms.momentum * self.momentum
        data, move = self._feedback.pack((-terms.learning_rate * ahead).astype(np.float32))
        self.shared = self.shared + move
        self.round += 1
        return data

    def state(self) -> dict[str, Vector]:
        """All that a harbour must keep to go on."""
        owed = self._feedback.owed
        return {"shared": self.shared, "momentum": self.momentum, "owed": owed}

    def restore(self, state: dict[str, Vector], rounds: int) -> None:
        """Goes on from what `state` gave after so many rounds."""
        self.shared, self.momentum = state["shared"].copy(), state["momentum"].copy()
        self._feedback.owed, self.round = state["owed"].copy(), rounds
