"""The report of a rehearsal, with its drill and its answers: as a page, and for a terminal."""

from sextant.sights.report.html import report_page
from sextant.sights.report.terminal import (
    answers_terminal,
    drill_terminal,
    print_drill,
    print_rehearsal,
    rehearsal_terminal,
)

__all__ = [
    "answers_terminal",
    "drill_terminal",
    "print_drill",
    "print_rehearsal",
    "rehearsal_terminal",
    "report_page",
]
