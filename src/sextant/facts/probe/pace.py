"""The pace of the machine now: what embedding, waking processes and merging cost in turn.

A shared machine changes its speed from minute to minute, and caches are colder between two kinds
of work than in a loop of one. So these costs are measured in turn, in rounds, just before they are
needed; each is the median over the rounds.
"""

from __future__ import annotations

import json
import math
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sextant.facts.probe.compute import batch_flops_per_s, short_stack

MEMBERS = (1, 2, 4, 8)
_ROUNDS = 3
_TURN_S = 1.2
_PATIENCE_S = 20.0
_Z90 = 1.2816


def pace(cores: int) -> dict[str, float]:
    """Unit costs of embedding, asking N processes, and merging; empty without the engines.

    `encoder_*_flops_per_s` over a batch on all cores, `encoder_*_short_layer_s` over 16 tokens on
    one thread; `wire_base_s` and `wire_per_member_s` of a line through the medians of N = 1, 2, 4
    and 8, each woken process scanning 256 vectors (`woken_search_s`); `merge_base_s` and
    `merge_per_reply_s` of another, to unpack ten rows of each and merge them; `wire_log_sigma` is
    the spread of the logarithm of a fan-out's time, from its median to its p90.
    """
    rounds: list[dict[str, float]] = []
    with _echoes() as ask:
        for _ in range(_ROUNDS):
            rounds.append(batch_flops_per_s(cores) | (_turns(ask) if ask else {}))
    names = {name for one in rounds for name in one}
    return {name: statistics.median(one[name] for one in rounds) for name in sorted(names)}


def _turns(ask: Callable[[int], tuple[float, float, list[float]]]) -> dict[str, float]:
    """Short encodings, fan-outs of changing width and merges, one after the other."""
    fans: dict[int, list[float]] = {count: [] for count in MEMBERS}
    encodes: dict[str, list[float]] = {}
    merges: dict[int, list[float]] = {count: [] for count in MEMBERS}
    woken: list[float] = []
    stacks = short_stack()
    end_s, turn = time.perf_counter() + _TURN_S, 0
    while time.perf_counter() < end_s or turn < 8 * len(MEMBERS):
        for name, encode in stacks.items():
            encodes.setdefault(name, []).append(encode())
        count = MEMBERS[turn % len(MEMBERS)]
        fan_s, merge_s, took_s = ask(count)
        fans[count].append(fan_s)
        merges[count].append(merge_s)
        woken += took_s if count == MEMBERS[-1] else []
        turn += 1
    base_s, member_s = _line(fans)
    merge_base_s, reply_s = _line(merges)
    widest = sorted(fans[MEMBERS[-1]])
    p90 = widest[int(0.9 * len(widest))]
    found = {f"encoder_{name}_short_layer_s": statistics.median(s) for name, s in encodes.items()}
    return found | {
        "wire_base_s": base_s,
        "wire_per_member_s": member_s,
        "wire_log_sigma": max(0.0, math.log(p90 / statistics.median(widest))) / _Z90,
        "woken_search_s": statistics.median(woken),
        "merge_base_s": merge_base_s,
        "merge_per_reply_s": reply_s,
    }


def _line(took_s: dict[int, list[float]]) -> tuple[float, float]:
    """The line through the medians over the numbers of members: what it begins with, and what each
    member adds.
    """
    medians = [statistics.median(took_s[count]) for count in MEMBERS]
    slope, intercept = statistics.linear_regression(MEMBERS, medians)
    return max(intercept, 0.1 * medians[0]), max(slope, 0.0)


@contextmanager
def _echoes() -> Iterator[Callable[[int], tuple[float, float, list[float]]] | None]:
    """Echo processes, and how to ask so many of them; None without the engines."""
    try:
        import faiss  # noqa: F401
        import msgpack  # noqa: F401
        import zenoh
    except ImportError:
        yield None
        return
    endpoint = f'["tcp/127.0.0.1:{_free_port()}"]'
    common = {"mode": '"peer"', "scouting/multicast/enabled": "false"}
    config = zenoh.Config()
    for key, value in (common | {"listen/endpoints": endpoint}).items():
        config.insert_json5(key, value)
    session: Any = zenoh.open(config)
    members: list[subprocess.Popen[str]] = []
    try:
        told = json.dumps(common | {"connect/endpoints": endpoint})
        for number in range(max(MEMBERS)):
            members.append(_start(number, told))
        for member in members:
            assert member.stdout is not None
            member.stdout.readline()
        time.sleep(0.3)  # declarations travel
        yield lambda count: _ask(session, count)
    finally:
        for member in members:
            member.kill()
            member.communicate(timeout=_PATIENCE_S)
        session.close()


def _start(number: int, told: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(__file__).with_name("echo.py")), str(number), told]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _ask(session: Any, count: int) -> tuple[float, float, list[float]]:
    """Seconds of a fan-out, of merging what came, and that each process took."""
    done, payloads = threading.Semaphore(0), []

    def take(reply: Any) -> None:
        if reply.ok is not None:
            payloads.append(reply.ok.payload)
        done.release()

    start_s = time.perf_counter()
    for number in range(count):
        session.get(f"probe/echo/{number}", take, payload=b"x" * 2048)
    for _ in range(count):
        done.acquire(timeout=1.0)
    fan_s = time.perf_counter() - start_s
    bodies = [bytes(payload) for payload in payloads]
    start_s = time.perf_counter()
    _merge([body[8:] for body in bodies])
    merge_s = time.perf_counter() - start_s
    return fan_s, merge_s, [struct.unpack_from("d", body)[0] for body in bodies]


def _merge(replies: list[bytes]) -> list[tuple[int, float, bytes]]:
    import msgpack
    import numpy as np

    parts = [msgpack.unpackb(reply) for reply in replies]
    scores = np.concatenate([np.frombuffer(part[0], np.float32) for part in parts])
    ids = np.concatenate([np.frombuffer(part[1], np.int64) for part in parts])
    rows = [row for part in parts for row in part[2]]
    order = np.lexsort((ids, -scores))[:10]
    return [(int(ids[at]), float(scores[at]), rows[at]) for at in order]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
