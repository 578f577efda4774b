"""A gang without processes: the same members, asked in the same words, on threads of this process.

Starting a fleet takes seconds, which a single question on the command line should not; Faiss lets
go of the interpreter's lock while it scans, so threads search side by side.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Protocol

from sextant.axes import Axis
from sextant.errors import SextantError
from sextant.fleet import Answer, Deadline, Gather, Ledger, Member, MemberSpec, Missing
from sextant.fleet.member import build


class Gang(Protocol):
    """What a searcher needs of a gang; `sextant.fleet.Gang` has it, and so does `LocalGang`."""

    def ask(self, body: bytes, deadline: Deadline) -> Gather:
        """Ask every member, and return what has come by the deadline."""
        ...

    def ask_replicas(self, body: bytes, deadline: Deadline) -> Gather:
        """Ask every replica of every member; the answers are in the replicas' names."""
        ...

    def ledgers(self, timeout_s: float) -> dict[str, dict[str, Any]]:
        """The ledger of each member that answers in time, as a snapshot."""
        ...

    def close(self) -> None:
        """End the members."""
        ...


class LocalGang:
    """Members in this process, each on a thread of its own (a member handles one request at a
    time).
    """

    def __init__(
        self,
        specs: Sequence[MemberSpec],
        *,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        """Make and warm every member; one that refuses is missing from every answer, with its
        reason.
        """
        self.ledger = Ledger()
        self._members: dict[str, Member] = {}
        self._refused: dict[str, str] = {}
        self._names = [spec.name for spec in specs]
        self._pools: dict[str, ThreadPoolExecutor] = {}
        for spec in specs:
            member = build(spec.factory, spec.arguments)
            member.ledger = Ledger()
            try:
                member.warm()
            except SextantError as error:
                self._refused[spec.name] = str(error)
                continue
            self._members[spec.name] = member
            self._pools[spec.name] = ThreadPoolExecutor(1, thread_name_prefix=spec.name)
            if progress is not None:
                progress(spec.name)

    @property
    def refused(self) -> Mapping[str, str]:
        """The members that would not warm, and why."""
        return self._refused

    def ledgers(self, timeout_s: float) -> dict[str, dict[str, Any]]:  # noqa: ARG002
        """The ledger of each member, as a snapshot."""
        return {name: member.ledger.snapshot() for name, member in self._members.items()}

    def ask(self, body: bytes, deadline: Deadline) -> Gather:
        """Ask every member; late and failed ones are missing."""
        start_s = time.perf_counter()
        futures: dict[Future[Answer], str] = {
            self._pools[name].submit(_handle, name, member, body, deadline, start_s): name
            for name, member in self._members.items()
        }
        with self.ledger.waiting(Axis.COORDINATION):
            wait(futures, timeout=max(0.0, deadline.left_s()))
        answers: dict[str, Answer] = {}
        why = dict(self._refused)
        for future, name in futures.items():
            if not future.done():
                future.cancel()
                why[name] = "deadline"
            elif (error := future.exception()) is None:
                answers[name] = future.result()
            elif isinstance(error, SextantError):
                why[name] = str(error)
            else:
                why[name] = f"{type(error).__name__}: {error}"
        missing = tuple(Missing(member=name, why=why[name]) for name in self._names if name in why)
        return Gather(answers=answers, missing=missing, seconds=time.perf_counter() - start_s)

    def ask_replicas(self, body: bytes, deadline: Deadline) -> Gather:
        """Ask every member: a thread has no replicas."""
        return self.ask(body, deadline)

    def close(self) -> None:
        """End the threads; one that is still searching ends by itself."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        for member in self._members.values():
            member.close()


def _handle(name: str, member: Member, body: bytes, deadline: Deadline, asked_s: float) -> Answer:
    started_s = time.perf_counter()
    answer = member.handle(body, deadline)
    done_s = time.perf_counter()
    return Answer(
        member=name,
        body=answer,
        wire_s=0.0,
        queue_s=started_s - asked_s,
        handle_s=done_s - started_s,
        total_s=done_s - asked_s,
    )
