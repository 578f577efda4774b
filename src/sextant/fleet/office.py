"""What holds the processes of a fleet of this machine together: a directory, a mark, a lock.

Every process of the fleet carries the mark in its environment. Whoever keeps the fleet holds the
lock; when nobody does any more, however that came about, the janitor ends what is left.
"""

from __future__ import annotations

import fcntl
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from sextant.fleet import janitor

_CLEANED_WITHIN_S = 10.0


class Office:
    """Made by `open` in the process that starts the fleet, by `enter` in one that stands by."""

    def __init__(
        self, directory: Path, mark: str, cleaner: subprocess.Popen[bytes] | None = None
    ) -> None:
        """Takes the lock.

        Raises:
            OSError: the directory is gone, and with it the fleet.
        """
        self.directory = directory
        self.mark = mark
        self._lock = (directory / janitor.LOCK).open("a")
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        self._cleaner = cleaner

    @classmethod
    def open(cls) -> Self:
        """A new office, with a janitor that outlives us."""
        directory, mark = Path(tempfile.mkdtemp(prefix="sextant-")), secrets.token_hex(8)
        (directory / "logs").mkdir()
        office = cls(directory, mark)
        # After the lock is held: the janitor waits for it to be free.
        office._cleaner = subprocess.Popen(
            [sys.executable, "-I", "-S", janitor.__file__, mark, str(directory)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Ctrl-C goes to the whole process group; the janitor must not hear it.
            start_new_session=True,
        )
        return office

    @classmethod
    def enter(cls, place: Mapping[str, str]) -> Self:
        """The office of a fleet that runs, by its `place`; raises `OSError` if it is gone."""
        return cls(Path(place["directory"]), place["mark"])

    @property
    def place(self) -> dict[str, str]:
        """Where it is, as plain data."""
        return {"directory": str(self.directory), "mark": self.mark}

    @property
    def env(self) -> dict[str, str]:
        """What every process of the fleet carries."""
        return {janitor.MARK: self.mark}

    @property
    def logs(self) -> Path:
        """The folder of what members print; it goes with the fleet."""
        return self.directory / "logs"

    def close(self) -> None:
        """Lets go of the lock. Whoever opened the office also has it cleaned, and waits for it."""
        self._lock.close()
        if self._cleaner is None:
            return
        self._cleaner.terminate()
        try:
            self._cleaner.wait(timeout=_CLEANED_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._cleaner.kill()
            self._cleaner.wait(timeout=1.0)
        # Nothing is left to do here unless somebody killed the janitor.
        janitor.end_all(self.mark, set(), grace_s=0.0)
        shutil.rmtree(self.directory, ignore_errors=True)
