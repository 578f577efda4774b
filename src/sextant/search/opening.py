"""Having a gang that serves one generation of an index open another, while it goes on serving."""

from __future__ import annotations

import time
from collections.abc import Callable

from sextant.errors import InputError
from sextant.fleet import Deadline
from sextant.search.local import Gang
from sextant.search.member import OPENING, PROBE, REFUSED

_ANSWER_S = 1.0
_BETWEEN_S = 0.05


def open_generation(
    gang: Gang, generation: str, patience_s: float, ended: Callable[[float], bool]
) -> bool:
    """Tell every replica of every shard of a generation, and wait until they have it open.

    A replica that does not answer (stopped, starting again) is waited for only so long: it opens
    the generation when it is first asked for it.

    Args:
        gang: shards of this index, whatever generation they serve.
        generation: the one to open.
        patience_s: how long to wait for replicas that are slow or do not answer.
        ended: waits so many seconds; whether to give up there.

    Returns:
        whether it is open; False if `ended` said so, or if nobody answers.

    Raises:
        InputError: a replica refuses the generation.
    """
    end_s = time.monotonic() + patience_s
    while True:
        gather = gang.ask_replicas(PROBE + generation.encode(), Deadline.after(_ANSWER_S))
        said = {name: answer.body for name, answer in gather.answers.items()}
        for name, word in said.items():
            if word.startswith(REFUSED):
                why = word.removeprefix(REFUSED).decode(errors="replace")
                raise InputError(f"generation {generation} is refused by {name}: {why}")
        if said and OPENING not in said.values() and not gather.missing:
            return True
        if time.monotonic() > end_s:
            return bool(said) and OPENING not in said.values()
        if ended(_BETWEEN_S):
            return False
