"""The server's log: one JSON object a line, and no question's text unless asked for."""

from __future__ import annotations

import json
import threading
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol


class Lines(Protocol):
    """What lines are written to; a text file is one."""

    def write(self, text: str, /) -> int:
        """Writes a line."""
        ...

    def flush(self) -> None:
        """Has it be seen."""
        ...


class Journal:
    """Writes lines; used from any thread.

    Args:
        stream: where to.
        questions: whether questions are written down.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        stream: Lines | None,
        *,
        questions: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stream = stream
        self._questions = questions
        self._clock = clock
        self._lock = threading.Lock()

    def line(self, what: str, **told: Any) -> None:
        """Writes what happened."""
        if self._stream is None:
            return
        at = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds")
        text = json.dumps({"at": at, "event": what, **told})
        with self._lock:
            try:
                self._stream.write(text + "\n")
                self._stream.flush()
            except BlockingIOError:
                # Whoever reads is behind: a line is lost, but no question waits for the log.
                return
            except (OSError, ValueError):
                # Nobody reads it any more; a server goes on all the same.
                self._stream = None

    def request(self, *, seconds: float, **told: Any) -> None:
        """Writes that a request ended."""
        self.line("request", **told, seconds=round(seconds, 6))

    def question(self, text: str, **told: Any) -> None:
        """Writes how a question went; the question itself only where that was asked for."""
        self.line("question", **told, **({"question": text} if self._questions else {}))

    def bug(self, request: str, error: BaseException) -> None:
        """Writes where an error came from. Its message is left out: it may hold a question."""
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        self.line("bug", request=request, kind=type(error).__name__, places=places[-12:])
