"""Hosts made of network namespaces on one machine, on a switch in user space.

Every host has a network device of its own (a tap), whose frames this module's switch carries: late,
lossy or not at all, as it is told on its standard input. Netem would do that in the kernel, where
there is one.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import os
import random
import selectors
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
_SUBNET = "10.77.113"


@dataclass(frozen=True)
class Host:
    """A namespace with its address."""

    namespace: str
    address: str

    def command(self, *words: str) -> list[str]:
        """A command that runs on this host."""
        return ["ip", "netns", "exec", self.namespace, *words]


class Switch:
    """Carries frames between the hosts; a process of its own."""

    def __init__(self, names: list[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, *names],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.ready = self._process.stdout.readline().strip() == "ready"

    def shape(self, *, delay_s: float, loss: float) -> None:
        """From now on frames come so much later, and this share of them not at all."""
        self._say(f"shape {delay_s} {loss}")

    def cut(self, host: int) -> None:
        """From now on nothing reaches or leaves a host."""
        self._say(f"cut {host}")

    def mend(self, host: int) -> None:
        """Undoes `cut`."""
        self._say(f"mend {host}")

    def close(self) -> None:
        """Ends it; the devices go with it."""
        self._process.kill()
        self._process.communicate(timeout=5)

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


@contextlib.contextmanager
def hosts(count: int) -> Iterator[tuple[list[Host], Switch]]:
    """So many hosts on one switch.

    Raises:
        PermissionError: this machine does not let us; the message says why.
    """
    mark = f"sx{os.getpid() % 10_000}"
    devices = [f"{mark}t{n}" for n in range(count)]
    made: list[Host] = []
    _may()
    switch = Switch(devices)
    try:
        if not switch.ready:
            raise PermissionError("no tap device can be made")
        for number, device in enumerate(devices):
            host = Host(f"{mark}n{number}", f"{_SUBNET}.{number + 1}")
            _run("ip", "netns", "add", host.namespace)
            made.append(host)
            _run("ip", "link", "set", device, "netns", host.namespace)
            inside = ("ip", "-n", host.namespace)
            _run(*inside, "address", "add", f"{host.address}/24", "dev", device)
            for link in (device, "lo"):
                _run(*inside, "link", "set", link, "up")
        yield made, switch
    finally:
        switch.close()
        for host in made:
            subprocess.run(["ip", "netns", "delete", host.namespace], check=False)


def _may() -> None:
    if os.geteuid() != 0:
        raise PermissionError("network namespaces need root")
    if not Path("/dev/net/tun").exists():
        raise PermissionError("there is no /dev/net/tun")
    _run("ip", "netns", "add", "sxtry")
    _run("ip", "netns", "delete", "sxtry")


def _run(*words: str) -> None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    except FileNotFoundError as error:
        raise PermissionError(f"{words[0]} is not installed") from error
    if done.returncode:
        raise PermissionError(f"{' '.join(words)}: {done.stderr.strip()}")


class _Bridge:
    """The switch's own process: one loop over the devices and what it is told."""

    def __init__(self, devices: list[str]) -> None:
        self._taps = [_tap(device) for device in devices]
        self._ports: dict[bytes, int] = {}
        self._cut: set[int] = set()
        self._late: list[tuple[float, int, int, bytes]] = []
        self._sent = 0
        self._delay_s = self._loss = 0.0
        self._dice = random.Random(7)

    def run(self) -> None:
        """Carries frames until standard input closes."""
        with selectors.DefaultSelector() as selector:
            for port, tap in enumerate(self._taps):
                selector.register(tap, selectors.EVENT_READ, port)
            selector.register(sys.stdin, selectors.EVENT_READ, None)
            while True:
                due_s = self._late[0][0] - time.monotonic() if self._late else None
                for key, _ in selector.select(due_s if due_s is None else max(0.0, due_s)):
                    if key.data is None:
                        if not (lines := os.read(key.fd, 4096).decode().splitlines()):
                            return
                        for line in lines:
                            self._obey(line.split())
                    else:
                        self._take(key.data, os.read(key.fd, 65536))
                while self._late and self._late[0][0] <= time.monotonic():
                    *_, port, frame = heapq.heappop(self._late)
                    self._deliver(port, frame)

    def _obey(self, words: list[str]) -> None:
        match words:
            case ["shape", delay, loss]:
                self._delay_s, self._loss = float(delay), float(loss)
            case ["cut", host]:
                self._cut.add(int(host))
            case ["mend", host]:
                self._cut.discard(int(host))

    def _take(self, port: int, frame: bytes) -> None:
        to, sender = frame[:6], frame[6:12]
        self._ports[sender] = port
        known = self._ports.get(to)
        others = [n for n in range(len(self._taps)) if n != port] if known is None else [known]
        for other in others:
            if {port, other} & self._cut or self._dice.random() < self._loss:
                continue
            if self._delay_s:
                self._sent += 1
                due_s = time.monotonic() + self._delay_s
                heapq.heappush(self._late, (due_s, self._sent, other, frame))
            else:
                self._deliver(other, frame)

    def _deliver(self, port: int, frame: bytes) -> None:
        with contextlib.suppress(OSError):  # a device that is not up yet, or whose queue is full
            os.write(self._taps[port], frame)


def _tap(device: str) -> int:
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH", device.encode(), _IFF_TAP | _IFF_NO_PI))
    return tap


if __name__ == "__main__":
    bridge = _Bridge(sys.argv[1:])
    print("ready", flush=True)
    bridge.run()
