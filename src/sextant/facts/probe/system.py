"""Disk, loopback, messages between processes, and what starting a process costs."""

from __future__ import annotations

import json
import math
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from sextant.facts.probe.timing import median_s, repeat_s

_FILE_BYTES = 128 << 20
_BLOCK_BYTES = 1 << 16
_ECHO_MEMBERS = (1, 2, 4, 8)
_PATIENCE_S = 20.0


def disk(folder: Path | None = None) -> dict[str, float]:
    """Bytes per second written and made durable, and seconds of one small durable write."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        path = Path(name) / "probe"
        block = os.urandom(1 << 20)
        start = time.perf_counter()
        with path.open("wb") as stream:
            for _ in range(_FILE_BYTES >> 20):
                stream.write(block)
            stream.flush()
            os.fsync(stream.fileno())
        rate = _FILE_BYTES / (time.perf_counter() - start)

        def small() -> None:
            with path.open("wb") as stream:
                stream.write(b"x" * 512)
                stream.flush()
                os.fsync(stream.fileno())

        return {"disk_write_bytes_per_s": rate, "fsync_s": median_s(small, for_s=0.3)}


def loopback() -> dict[str, float]:
    """Round trip of a small message over TCP between two threads, and bytes per second one way."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(_PATIENCE_S)

    def echo() -> None:
        peer, _ = server.accept()
        with peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while data := peer.recv(1 << 20):
                peer.sendall(data)

    thread = threading.Thread(target=echo, daemon=True)
    thread.start()
    with server, socket.create_connection(server.getsockname(), timeout=_PATIENCE_S) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def ping() -> None:
            link.sendall(b"x" * 64)
            link.recv(64)

        times = repeat_s(ping, for_s=0.5)
        block = bytes(_BLOCK_BYTES)

        def send() -> None:
            link.sendall(block)
            left = _BLOCK_BYTES
            while left > 0:
                left -= len(link.recv(1 << 20))

        rate = 2 * _BLOCK_BYTES / median_s(send, for_s=0.3)
    thread.join(_PATIENCE_S)
    return {"loopback_round_trip_s": statistics.median(times), "loopback_bytes_per_s": rate}


_ECHO = """
import json, queue, struct, sys, threading, time, zenoh
config = zenoh.Config()
for key, value in json.loads(sys.argv[2]).items():
    config.insert_json5(key, value)
session = zenoh.open(config)
key = "probe/echo/" + sys.argv[1]
try:
    import faiss, msgpack, numpy
    faiss.omp_set_num_threads(1)
    vectors = numpy.random.default_rng(0).standard_normal((256, 384), numpy.float32)
    index = faiss.IndexFlatIP(384)
    index.add(vectors)
except ImportError:
    index = None
tasks = queue.SimpleQueue()
def work():
    while True:
        query = tasks.get()
        start = time.perf_counter()
        bytes(query.payload)
        if index is not None:
            scores, ids = index.search(vectors[:1], 10)
            msgpack.packb([scores.tobytes(), ids.tobytes(), [b"x" * 1000] * 10])
        took = time.perf_counter() - start
        query.reply(key, struct.pack("d", took) + b"x" * 10000)
        del query
threading.Thread(target=work, daemon=True).start()
def answer(query):
    tasks.put(query)
queryable = session.declare_queryable(key, answer)
print("ready", flush=True)
sys.stdin.read()
"""


def messages() -> dict[str, float]:
    """Time to ask N processes over Zenoh and hear from all: a fixed part, and one a process.

    Each process, once woken, scans 256 vectors and packs ten rows, so that its caches are as cold
    as a server's (`woken_search_s`). A line through the medians of N = 1, 2, 4 and 8, that work
    included; `wire_log_sigma` is the spread of the logarithm of a fan-out's time, median to p90.
    """
    try:
        import zenoh
    except ImportError:
        return {}
    port = _free_port()
    listen = {"mode": '"peer"', "scouting/multicast/enabled": "false"}
    config = zenoh.Config()
    for key, value in {**listen, "listen/endpoints": f'["tcp/127.0.0.1:{port}"]'}.items():
        config.insert_json5(key, value)
    session: Any = zenoh.open(config)
    members: list[subprocess.Popen[str]] = []
    try:
        connect = json.dumps({**listen, "connect/endpoints": f'["tcp/127.0.0.1:{port}"]'})
        for number in range(max(_ECHO_MEMBERS)):
            command = [sys.executable, "-c", _ECHO, str(number), connect]
            pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            members.append(subprocess.Popen(command, stderr=subprocess.DEVNULL, **pipes))
        for member in members:
            assert member.stdout is not None
            member.stdout.readline()
        time.sleep(0.3)  # declarations travel
        return _fan_outs(session)
    finally:
        for member in members:
            member.kill()
            member.wait(_PATIENCE_S)
        session.close()


def _fan_outs(session: Any) -> dict[str, float]:
    medians, spreads = [], []
    woken: list[float] = []
    for count in _ECHO_MEMBERS:

        def ask(count: int = count) -> None:
            done = threading.Semaphore(0)

            def reply(reply: Any) -> None:
                if reply.ok is not None:
                    woken.append(struct.unpack_from("d", bytes(reply.ok.payload))[0])
                done.release()

            for number in range(count):
                session.get(f"probe/echo/{number}", reply, payload=b"x" * 2048)
            for _ in range(count):
                done.acquire(timeout=1.0)

        times = repeat_s(ask, for_s=0.6, at_least=50)
        medians.append(statistics.median(times))
        p90 = times[int(0.9 * len(times))]
        spreads.append(max(0.0, math.log(p90 / medians[-1])) / 1.2816)
    slope, intercept = statistics.linear_regression(_ECHO_MEMBERS, medians)
    return {
        "wire_base_s": max(intercept, 0.1 * medians[0]),
        "wire_per_member_s": max(slope, 0.0),
        "wire_log_sigma": statistics.median(spreads),
        "woken_search_s": statistics.median(woken[len(woken) // 2 :]),
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


_START = """
import time, resource, sys
for name in sys.argv[1:]:
    try:
        __import__(name)
    except ImportError:
        pass
with open("/proc/self/statm") as f:
    print(int(f.read().split()[1]) * resource.getpagesize())
"""


def processes() -> dict[str, float]:
    """Seconds to start an interpreter alone and with the engines' imports, and its memory."""
    found = {}
    for name, modules in (("process", ()), ("member", ("ray", "zenoh", "faiss", "numpy"))):
        command = [sys.executable, "-c", _START, *modules]
        times = []
        for _ in range(3):
            start = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S)
            times.append(time.perf_counter() - start)
        found[f"{name}_start_s"] = min(times)
        found[f"{name}_memory_bytes"] = float(done.stdout)
    return found
