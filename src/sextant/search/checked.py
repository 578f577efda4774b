"""The parts of a message that somebody else wrote: each taken only if it is what it must be."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgpack
import numpy as np
import numpy.typing as npt

from sextant.errors import InputError

MOST_COUNT = (1 << 31) - 1
_MOST_CHARS = 1000
_MOST_WEIGHT = 1e9
_T = TypeVar("_T")


class Checked:
    """A message's parts by name; what is wrong with one is a ValueError or a TypeError."""

    def __init__(self, value: Mapping[Any, Any]) -> None:
        self._value = value

    def has(self, name: str) -> bool:
        """Whether the message says anything under this name."""
        return self._value.get(name) is not None

    def text(self, name: str, default: str | None = None, most: int = _MOST_CHARS) -> str:
        """A string of at most so many characters."""
        return checked_text(self._value.get(name, default), most)

    def count(self, name: str, default: int | None = None, least: int = 0) -> int:
        """A whole number."""
        return checked_count(self._value.get(name, default), least)

    def flag(self, name: str, default: bool) -> bool:
        """True or false, and nothing that merely counts as one."""
        value = self._value.get(name, default)
        if not isinstance(value, bool):
            raise TypeError(f"{name} must be true or false")
        return value

    def weight(self, name: str, default: float) -> float:
        """A number above 0."""
        return checked_weight(self._value.get(name, default))

    def items(self, name: str, most: int) -> Sequence[Any]:
        """A list of at most so many things."""
        return checked_items(self._value.get(name, ()), most)

    def array(self, name: str, dtype: str, most_lines: int) -> npt.NDArray[Any]:
        """An array of two dimensions, the first of them bounded."""
        lines, width = (checked_count(size) for size in self.items("shape", 2))
        data = self._value[name]
        if not isinstance(data, bytes) or lines > most_lines:
            raise ValueError(f"{name} must be the bytes of at most {most_lines} lines")
        # NumPy refuses bytes that are not as many as the shape needs.
        return np.frombuffer(data, dtype=dtype).reshape(lines, width)


def unpacked(body: bytes, what: str, read: Callable[[Checked], _T]) -> _T:
    """What `read` makes of a message.

    Raises:
        InputError: the message is something else.
    """
    try:
        value = msgpack.unpackb(body)
        if not isinstance(value, Mapping):
            raise TypeError("no mapping")
        return read(Checked(value))
    except (
        InputError,
        ValueError,
        KeyError,
        TypeError,
        OverflowError,
        msgpack.UnpackException,
    ) as error:
        raise InputError(f"not a {what}: {error}") from error


def checked_text(value: object, most: int) -> str:
    """A string of at most so many characters, as it is."""
    if not isinstance(value, str) or len(value) > most:
        raise ValueError(f"a string of at most {most} characters is wanted")
    return value


def checked_count(value: object, least: int = 0) -> int:
    """A whole number from `least` to two thousand million, as it is."""
    if type(value) is not int or not least <= value <= MOST_COUNT:
        raise ValueError(f"a whole number from {least} to {MOST_COUNT} is wanted")
    return value


def checked_weight(value: object) -> float:
    """A number above 0 that can be computed with, as it is."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError("a number is wanted")
    if not math.isfinite(value) or not 0 < value <= _MOST_WEIGHT:
        raise ValueError(f"a number above 0 and up to {_MOST_WEIGHT:g} is wanted")
    return float(value)


def checked_items(value: object, most: int) -> Sequence[Any]:
    """A list of at most so many things, as it is."""
    if not isinstance(value, list | tuple) or len(value) > most:
        raise ValueError(f"a list of at most {most} is wanted")
    return value
