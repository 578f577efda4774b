"""One question to several servers by turns: whoever is silent for long is asked beside another.

A server whose process is stopped, or whose host is, still takes connections and never answers. To
wait for it until the deadline would lose the question, and to leave it early would lose what it may
be about to say; so the next one is asked too, and the first answer is heard.
"""

from __future__ import annotations

import selectors
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from sextant.systems.rag.client_line import MARGIN_S, Arriving, Line, NotNow, Underway

_SILENT_SHARE = 0.25
"""Of the time that is left; then the next server is asked too."""
_LOOK_AGAIN_S = 3600.0
"""No system waits for longer at a time."""
_Read = TypeVar("_Read")


class Race:
    """One round over the servers, each asked once at the most.

    Attributes:
        refusals: why servers did not answer.
        winner: the number of the one that did.
    """

    def __init__(
        self, lines: Sequence[Line], order: Sequence[int], clock: Callable[[], float]
    ) -> None:
        self.refusals: list[NotNow] = []
        self.winner: int | None = None
        self._lines = lines
        self._unasked = list(order)
        self._underway: dict[Underway, int] = {}
        self._clock = clock

    def run(
        self,
        path: str,
        body: Mapping[str, Any],
        until_s: float,
        read: Callable[[Arriving], _Read],
    ) -> _Read | None:
        """The first answer that is read; None if nobody has one by `until_s`."""
        try:
            while (left_s := until_s - self._clock()) > 0 and (self._unasked or self._underway):
                if self._unasked:
                    self._ask(path, body, left_s)
                for one in self._ready(left_s):
                    found = self._heard(one, until_s - self._clock(), read)
                    if found is not None:
                        return found
            late = [NotNow(f"{one.line.address}: timed out") for one in self._underway]
            self.refusals.extend(late)
            return None
        finally:
            for one in self._underway:
                one.close()

    def _ask(self, path: str, body: Mapping[str, Any], left_s: float) -> None:
        number = self._unasked.pop(0)
        try:
            one = self._lines[number].begin(path, {**body, "deadline": left_s}, left_s)
        except NotNow as refusal:
            self.refusals.append(refusal)
        else:
            self._underway[one] = number

    def _ready(self, left_s: float) -> list[Underway]:
        """Those whose answer begins; nobody where another server is to be asked first."""
        if not self._underway:
            return []
        wait_s = _SILENT_SHARE * left_s if self._unasked else left_s + MARGIN_S
        with selectors.DefaultSelector() as selector:
            for one in self._underway:
                selector.register(one, selectors.EVENT_READ, one)
            ready: list[Underway] = [
                key.data for key, _ in selector.select(min(wait_s, _LOOK_AGAIN_S))
            ]
        return ready

    def _heard(
        self, one: Underway, left_s: float, read: Callable[[Arriving], _Read]
    ) -> _Read | None:
        """What one says; None if it is no answer."""
        number = self._underway.pop(one)
        try:
            answer = one.arrived(max(0.0, left_s))
            if isinstance(answer, Arriving):
                found = read(answer)
                self.winner = number
                return found
        except NotNow as refusal:
            self.refusals.append(refusal)
        else:
            self._underway[answer] = number
        return None
