"""What a run's record says of its losses: how long each took to mend, and what it cost.

Of one loss: `detect` from the lost rank's last sign of life to the verdict, `restart` until the
ranks have met and read a checkpoint, `warm` until the first step is taken, `full` from the last
sign of life until every step that had been taken is taken again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Recovery:
    """One loss, and how the run came back; None where the record ends before.

    Attributes:
        why: what was seen of the rank.
        rank: which one, if one was named.
        detect_s, restart_s, warm_s, full_s: as the module says.
        steps_lost: taken before, and taken again.
        layout: that the run went on with.
    """

    why: str
    rank: int | None
    detect_s: float
    restart_s: float | None = None
    warm_s: float | None = None
    full_s: float | None = None
    steps_lost: int | None = None
    layout: str | None = None


def recoveries(events: Iterable[Mapping[str, Any]]) -> list[Recovery]:
    """One for each loss of a record, in order."""
    told = list(events)
    found, reached = [], 0
    for at, event in enumerate(told):
        if event["kind"] == "step":
            reached = max(reached, int(event["step"]) + 1)
        elif event["kind"] == "lost":
            found.append(_recovery(event, told[at + 1 :], reached))
    return found


def _recovery(lost: Mapping[str, Any], after: list[Mapping[str, Any]], reached: int) -> Recovery:
    detect_s = float(lost.get("since_step_s") or 0.0)
    known: dict[str, Any] = {"why": lost["why"], "rank": lost["rank"], "detect_s": detect_s}
    began_s: float | None = None
    for event in after:
        if event["kind"] == "lost":
            break
        if event["kind"] == "begin":
            began_s = float(event["at_s"])
            known["restart_s"] = began_s - lost["at_s"]
            known["steps_lost"] = max(0, reached - int(event["step"]))
            known["layout"] = event["layout"]
        elif event["kind"] == "step" and began_s is not None:
            known.setdefault("warm_s", event["at_s"] - began_s)
            if int(event["step"]) + 1 >= reached:
                known["full_s"] = event["at_s"] - lost["at_s"] + detect_s
                break
    return Recovery(**known)


def goodput(events: Iterable[Mapping[str, Any]]) -> float | None:
    """The share of the run's time that went into steps that stayed, each counted once.

    None where nothing was taken. Time counts from the first start of ranks to the last event;
    between a run's end and its resumption nothing runs, so that gap is left out.
    """
    useful: dict[int, float] = {}
    whole_s, since_s, last_s = 0.0, None, 0.0
    for event in events:
        if event["kind"] == "start" and event.get("attempt") == 1:
            whole_s += 0.0 if since_s is None else last_s - since_s
            since_s = event["at_s"]
        if event["kind"] == "step":
            useful[int(event["step"])] = float(event["seconds"])
        last_s = event["at_s"]
    if since_s is None or not useful:
        return None
    whole_s += last_s - since_s
    return min(1.0, sum(useful.values()) / whole_s) if whole_s > 0.0 else None
