"""Times on the command line: one reading for every option that takes one."""

from __future__ import annotations

from sextant.errors import InputError
from sextant.units import SECONDS, parse, show_seconds

TIME_HELP = "T is a time with its unit, such as 200ms or 2s; a number alone is seconds"
"""For the help of a command with such options."""
_HINT = 'such as "50 ms" or "2 s"; a number alone is seconds'


def seconds(text: str, option: str, *, most_s: float, or_zero: bool = False) -> float:
    """The time that was given for an option, in seconds.

    Args:
        text: what the user wrote.
        option: its name, for the error.
        most_s: the longest time that makes sense.
        or_zero: whether no time at all makes sense too.

    Raises:
        InputError: it is not a time, or not one within the bounds.
    """
    try:
        value = parse(text, SECONDS)
    except ValueError as error:
        raise InputError(str(error), where=option, hint=_HINT) from None
    if not 0.0 <= value <= most_s or (value == 0.0 and not or_zero):
        least = "zero or more" if or_zero else "above zero"
        raise InputError(
            f"{text[:40]!r} is not a time {least} and up to {show_seconds(most_s)}",
            where=option,
            hint=_HINT,
        )
    return value
