"""Where a model works: in this process, or as a gang of ranks on a fleet."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sextant.decoder.generate import Batch, News, Request
from sextant.decoder.generator import Finish, Sampling
from sextant.decoder.scheduler import Desk, Order
from sextant.errors import EngineError
from sextant.fleet.deadline import Deadline
from sextant.fleet.messages import pack, unpack

if TYPE_CHECKING:
    from sextant.fleet import Gang

_ORDER_S = 120.0
"""The longest that one order may take; a long prompt on a slow machine takes most."""
_FORM_S = 30.0
_AIM_S = 0.03
_MOST_STEPS = 16


class LocalDesk(Desk):
    """A model in this process; a step an order, so that newcomers join at once."""

    def __init__(self, batch: Batch, rows: int) -> None:
        self.rows = rows
        self._batch = batch

    def obey(self, order: Order) -> list[News]:
        """Carries out one order."""
        return carry_out(self._batch, order, steps=1)

    def trouble(self) -> str | None:
        """Nothing ails it that its callers would not hear of."""
        return None

    def close(self) -> None:
        """Nothing to end: its memory goes with it."""


def carry_out(batch: Batch, order: Order, *, steps: int) -> list[News]:
    """Carries out an order on a batch.

    Returns:
        The new tokens: one of each newcomer, then one of each sequence a step.
    """
    batch.drop(order.drop)
    news = batch.admit(order.admit)
    for _ in range(steps):
        news += batch.step()
    return news


class GangDesk(Desk):
    """A model spread over a gang. Every rank gets every order, and carries it out in step.

    When a rank was started anew, what ran is lost, and the ranks form a new group under a new
    epoch before the next order; a message of an old epoch is refused. A gang has one asker: what
    runs for one is lost when another forms the group anew.
    """

    def __init__(
        self, gang: Gang, rows: int, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.rows = rows
        self._gang, self._clock = gang, clock
        self._names = gang.names
        self._formed: tuple[int | None, ...] | None = None
        self._epoch = self._number = 0
        self._running: set[int] = set()
        self._step_s = _AIM_S

    def obey(self, order: Order) -> list[News]:
        """Carries out one order on all ranks.

        Raises:
            EngineError: a rank is missing or failed; it says which and why.
        """
        try:
            self._stand_together()
            return self._carry_out(order)
        except EngineError:
            self._formed = None
            self._running.clear()
            raise

    def trouble(self) -> str | None:
        """Which ranks do not serve, and why."""
        missing = self._gang.missing()
        return f"the language model is missing {', '.join(map(str, missing))}" if missing else None

    def close(self) -> None:
        """Ends the ranks."""
        self._gang.close()

    def _stand_together(self) -> None:
        """Sees to it that the ranks that are there now form a group."""
        if trouble := self.trouble():
            raise EngineError(trouble, hint="it is being started again")
        present = tuple(self._gang.pid(name) for name in self._names)
        if present == self._formed:
            return
        if self._running:
            raise EngineError("a rank of the language model was started anew", hint="ask again")
        # Of the time, so that two askers of one gang can never mean the same epoch.
        self._epoch = time.time_ns()
        self._number = 0
        first = self._names[0]
        opened = self._ask({first: {"do": "open"}}, _FORM_S)[first]
        join = {"do": "join", "epoch": self._epoch, "host": opened["host"], "port": opened["port"]}
        self._ask(dict.fromkeys(self._names, join), _FORM_S)
        self._formed = present

    def _carry_out(self, order: Order) -> list[News]:
        # After a newcomer's first token it should be heard at once; else a message carries as
        # many steps as take about as long as anybody notices.
        steps = 1 if order.admit else max(1, min(_MOST_STEPS, int(_AIM_S / self._step_s)))
        self._number += 1
        body = {
            "do": "order",
            "epoch": self._epoch,
            "number": self._number,
            "steps": steps,
            "admit": [_packed(request) for request in order.admit],
            "drop": list(order.drop),
        }
        self._running |= {request.id for request in order.admit}
        begun_s = self._clock()
        told = self._ask(dict.fromkeys(self._names, body), _ORDER_S)[self._names[0]]["news"]
        if not order.admit:
            self._step_s = max(1e-4, (self._clock() - begun_s) / steps)
        news = [News(id=i, token=t, finish=Finish(f) if f else None) for i, t, f in told]
        self._running -= {*order.drop, *(one.id for one in news if one.finish)}
        return news

    def _ask(self, bodies: dict[str, dict[str, Any]], within_s: float) -> dict[str, Any]:
        packed = {name: pack(body) for name, body in bodies.items()}
        gather = self._gang.ask(packed, Deadline.after(within_s))
        if not gather.full:
            why = ", ".join(map(str, gather.missing))
            raise EngineError(
                f"the language model lost {why}", hint="it is being started again; ask again"
            )
        return {name: unpack(answer.body) for name, answer in gather.answers.items()}


def _packed(request: Request) -> dict[str, Any]:
    return {**asdict(request), "tokens": list(request.tokens), "endings": list(request.endings)}


def unpacked(requests: Sequence[dict[str, Any]]) -> tuple[Request, ...]:
    """The requests that `GangDesk` packed."""
    return tuple(
        Request(**{**request, "sampling": Sampling(**request["sampling"])}) for request in requests
    )
