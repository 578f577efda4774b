"""The Python client of `sextant rag serve`: the standard library alone, neither torch nor Faiss.

    client = Client(["http://127.0.0.1:8765", "http://127.0.0.1:8766"])
    reply = client.ask("What does a drill record?", deadline_s=2.0)
    print(reply.answer, reply.coverage)

Every call has a deadline. Questions change nothing, so one whose server is gone is asked of the
next address at once, and one whose server is silent after a share of the time; a server that is
full is asked again when it said, if that is within the deadline.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self, TypeVar

from sextant.errors import EngineError, InputError
from sextant.systems.rag.client_line import Arriving, Line, NotNow
from sextant.systems.rag.client_race import Race
from sextant.systems.rag.client_reply import Absent, Event, Reply, Span, reply_of

__all__ = ["Absent", "BusyError", "Client", "Event", "Reply", "Span"]

_PAUSE_S = 0.05
_Read = TypeVar("_Read")


class BusyError(EngineError):
    """Every server was full until the deadline."""


class Client:
    """Asks one or several servers of the same index. May be used from many threads.

    Args:
        addresses: such as `http://127.0.0.1:8765`; the first that answers is kept to.
        token: of the servers' token file.
        deadline_s: of a call that names none.
        clock: monotonic seconds.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        addresses: Sequence[str] | str,
        *,
        token: str | None = None,
        deadline_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        addresses = [addresses] if isinstance(addresses, str) else list(addresses)
        if not addresses:
            raise InputError("a client needs an address", hint="http://127.0.0.1:8765")
        self._lines = [Line(address, token) for address in addresses]
        self._first = 0
        self._deadline_s = deadline_s
        self._clock = clock
        self._sleep = sleep

    def search(self, question: str, *, deadline_s: float | None = None, **how: Any) -> Reply:
        """The passages nearest to a question.

        Args:
            question: in words.
            deadline_s: for everything, asking again included.
            how: `k`, `mode`, `filter`, `groups`, as the server takes them.

        Raises:
            InputError: the server does not take the question or the token.
            BusyError: every server was full until the deadline.
            EngineError: no server answered by the deadline.
        """
        return self._asked("/search", question, deadline_s, how)

    def ask(self, question: str, *, deadline_s: float | None = None, **how: Any) -> Reply:
        """An answer with citations; see `search`."""
        return self._asked("/ask", question, deadline_s, how)

    def stream(
        self, question: str, *, deadline_s: float | None = None, **how: Any
    ) -> Iterator[Event]:
        """An answer as it comes: `hits`, then `text`..., then `end`; see `search`.

        Raises:
            EngineError: also where the answer broke off.
        """
        body = {"question": question, "stream": True, **how}
        with self._answered("/ask", body, deadline_s, lambda answer: answer) as answer:
            yield from _events(answer)

    def close(self) -> None:
        """Let the connections go."""
        for line in self._lines:
            line.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _asked(
        self, path: str, question: str, deadline_s: float | None, how: Mapping[str, Any]
    ) -> Reply:
        def read(answer: Arriving) -> Reply:
            with answer:
                return reply_of(answer.json())

        return self._answered(path, {"question": question, **how}, deadline_s, read)

    def _answered(
        self,
        path: str,
        asked: Mapping[str, Any],
        deadline_s: float | None,
        read: Callable[[Arriving], _Read],
    ) -> _Read:
        """The first answer that is read, from whichever server gives one."""
        body = {name: value for name, value in asked.items() if value is not None}
        until_s = self._clock() + (deadline_s or self._deadline_s)
        pause_s = _PAUSE_S
        while True:
            race = Race(self._lines, self._order(), self._clock)
            found = race.run(path, body, until_s, read)
            if race.winner is not None and found is not None:
                self._first = race.winner
                return found
            refusals = race.refusals
            wait_s = max(pause_s, min((one.after_s for one in refusals), default=0.0))
            if self._clock() + wait_s >= until_s:
                raise _given_up(refusals)
            self._sleep(wait_s)
            pause_s *= 2

    def _order(self) -> list[int]:
        """The servers, the one that answered last first."""
        numbers = list(range(len(self._lines)))
        return numbers[self._first :] + numbers[: self._first]


def _given_up(refusals: Sequence[NotNow]) -> EngineError:
    what = "; ".join(str(one) for one in refusals) or "no time was left to ask"
    kind = BusyError if refusals and all(one.full for one in refusals) else EngineError
    return kind(f"no answer by the deadline: {what}", hint="a longer deadline, or fewer questions")


def _events(answer: Arriving) -> Iterator[Event]:
    name = ""
    for line in answer.lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            data = json.loads(line.removeprefix("data: "))
            match name:
                case "text":
                    yield Event(name="text", text=data["text"])
                case "hits":
                    yield Event(name="hits", reply=reply_of(data))
                case "end":
                    yield Event(name="end", reply=reply_of(data))
                case "error":
                    raise EngineError(data["error"], where=data["where"], hint=data["hint"])
    if name != "end":
        raise EngineError("the answer broke off", hint="ask again")
