"""Numbers over steps as a file that TensorBoard reads: TFRecords of `Event` messages.

Source: tensorflow/core/lib/io/record_writer.h (length, masked CRC-32C of it, data, masked CRC-32C
of that) and tensorflow/core/util/event.proto; only the fields that scalars need are written.
"""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path

from sextant.errors import InputError

_VERSION = b"brain.Event:2"
_CASTAGNOLI = 0x82F63B78
_DOUBLE, _VARINT, _BYTES, _FLOAT = 1, 0, 2, 5
_WALL_TIME, _STEP, _FILE_VERSION, _SUMMARY = 1, 2, 3, 5
_VALUE, _TAG, _SIMPLE_VALUE = 1, 1, 2


class EventFile:
    """Appends scalars to a file of its own in a folder; nothing is held back.

    Args:
        folder: that TensorBoard is pointed to; made if it is not there.
        at_s: now, in seconds since the epoch; part of the file's name.

    Raises:
        InputError: there can be no file.
    """

    def __init__(self, folder: Path, at_s: float) -> None:
        self._path = folder / f"events.out.tfevents.{at_s * 1e6:.0f}.sextant"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._append(_double(_WALL_TIME, at_s) + _bytes(_FILE_VERSION, _VERSION))
        except OSError as error:
            hint = "free some space, or train into another folder"
            raise InputError(
                f"no file for TensorBoard: {error.strerror}", where=str(folder), hint=hint
            ) from None

    def write(self, values: dict[str, float], *, step: int, at_s: float) -> None:
        """One number for each tag, of one step.

        Raises:
            OSError: the file cannot be written.
        """
        summary = b"".join(
            _bytes(_VALUE, _bytes(_TAG, tag.encode()) + _float(_SIMPLE_VALUE, value))
            for tag, value in values.items()
        )
        head = _double(_WALL_TIME, at_s) + _key(_STEP, _VARINT) + _varint(step)
        self._append(head + _bytes(_SUMMARY, summary))

    def _append(self, event: bytes) -> None:
        length = struct.pack("<Q", len(event))
        whole = length + _masked(length) + event + _masked(event)
        with self._path.open("ab") as stream:
            stream.write(whole)


def _key(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _bytes(field: int, value: bytes) -> bytes:
    return _key(field, _BYTES) + _varint(len(value)) + value


def _double(field: int, value: float) -> bytes:
    return _key(field, _DOUBLE) + struct.pack("<d", value)


def _float(field: int, value: float) -> bytes:
    return _key(field, _FLOAT) + struct.pack("<f", value)


def _masked(data: bytes) -> bytes:
    """CRC-32C, turned and shifted: so that a sum of data that holds sums is no special case."""
    sum_ = crc32c(data)
    return struct.pack("<I", ((sum_ >> 15 | sum_ << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def crc32c(data: bytes) -> int:
    """The Castagnoli sum. Source: RFC 3720, appendix B.4."""
    found = 0xFFFFFFFF
    for byte in data:
        found = found >> 8 ^ _table()[(found ^ byte) & 0xFF]
    return found ^ 0xFFFFFFFF


@cache
def _table() -> tuple[int, ...]:
    made = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ _CASTAGNOLI * (number & 1)
        made.append(number)
    return tuple(made)
