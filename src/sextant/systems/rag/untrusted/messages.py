"""What the reading process and the one that started it say to each other: MessagePack, each
message after its length.
"""

from __future__ import annotations

import struct
from typing import Any, BinaryIO

import msgpack

LENGTH = struct.Struct("<I")
MOST_MESSAGE_BYTES = 256 << 20


def packed(message: Any) -> bytes:
    """A message with its length before it."""
    body = bytes(msgpack.packb(message))
    return LENGTH.pack(len(body)) + body


def read(stream: BinaryIO) -> Any:
    """The next message of a stream, or None at its end."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    return msgpack.unpackb(stream.read(LENGTH.unpack(head)[0]))
