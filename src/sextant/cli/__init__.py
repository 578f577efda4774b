"""The command line: one file a command, nothing heavy at import."""

from sextant.cli.main import main

__all__ = ["main"]
