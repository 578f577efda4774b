"""Disk, loopback, and what starting a process costs."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from sextant.facts.probe.timing import median_s, repeat_s

_FILE_BYTES = 128 << 20
_BLOCK_BYTES = 1 << 16
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
    for name, modules in (("process", ()), ("member", ("zenoh", "faiss", "numpy"))):
        command = [sys.executable, "-c", _START, *modules]
        times = []
        for _ in range(5):
            start = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S)
            times.append(time.perf_counter() - start)
        found[f"{name}_start_s"] = statistics.median(times)
        found[f"{name}_memory_bytes"] = float(done.stdout)
    return found
