"""Looking at a process of this host, and sending it a signal."""

from __future__ import annotations

import os
from typing import Any

from sextant.errors import missing_engine
from sextant.fleet.health import Process


def process_state(pid: int) -> Process:
    """What the operating system says of a process of this host."""
    psutil = _psutil()
    try:
        status = psutil.Process(pid).status()
    except psutil.NoSuchProcess:
        return Process.GONE
    except psutil.Error:
        return Process.UNKNOWN
    if status in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
        return Process.GONE
    stopped = status in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    return Process.STOPPED if stopped else Process.RUNNING


def send_signal(pid: int, number: int) -> bool:
    """Sends a signal; returns whether there was a process to send it to."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _psutil() -> Any:
    try:
        import psutil
    except ImportError as error:
        raise missing_engine("psutil", "rag") from error
    return psutil
