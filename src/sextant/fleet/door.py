"""The process that has joined Ray for this one, from this side: `ray_door` is the other."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from typing import Any

from sextant.errors import EngineError
from sextant.fleet.placement import Node
from sextant.fleet.ray_door import read_frame, write_frame

_STALE_AFTER_S = 2.0
"""Ray's word of its nodes is not worth more than so long."""


class Door:
    """The process that has joined Ray for this one; safe to use from many threads."""

    def __init__(self, address: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sextant.fleet.ray_door", address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._numbers = itertools.count(1)
        self._asked: dict[int, Future[Any]] = {}
        self._lock = threading.Lock()
        self._heard = threading.Event()
        self._heard_s = 0.0
        self._here = ""
        self._nodes: tuple[Node, ...] = ()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes that live; none if Ray has not said so of late."""
        return self._nodes if time.monotonic() - self._heard_s < _STALE_AFTER_S else ()

    def here(self, within_s: float) -> Node:
        """This node.

        Raises:
            EngineError: Ray could not be joined.
        """
        self._heard.wait(within_s)
        if not self._here:
            self.close()
            raise EngineError(
                "the Ray cluster could not be joined", hint="ray status tells how it is"
            )
        return Node(self._here, self._here)

    def ask(self, what: str, *arguments: Any, within_s: float) -> Any:
        """Has something done.

        Raises:
            EngineError: it failed, or took too long.
        """
        number, answer = next(self._numbers), Future[Any]()
        self._asked[number] = answer
        stdin = self._process.stdin
        assert stdin is not None
        try:
            with self._lock:
                write_frame(stdin, [number, what, *arguments])
            return answer.result(within_s)
        except LateError as error:
            raise EngineError(f"Ray took more than {within_s:g} s") from error
        except OSError as error:
            raise EngineError("Ray is gone") from error
        finally:
            self._asked.pop(number, None)

    def is_shut(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait(5.0)
        self._thread.join(1.0)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError, OSError):
            while (message := read_frame(self._process.stdout)) is not None:
                number, error, value = message
                if number == 0:
                    self._here, addresses = value
                    self._nodes = tuple(Node(address, address) for address in addresses)
                    self._heard_s = time.monotonic()
                    self._heard.set()
                elif answer := self._asked.get(number):
                    if error is None:
                        answer.set_result(value)
                    else:
                        answer.set_exception(EngineError(error))
        self._heard.set()
        for answer in tuple(self._asked.values()):
            answer.set_exception(EngineError("Ray is gone"))
