"""Numbers in few bits for the wide link; what is lost by rounding is sent the next time.

A block of numbers shares one scale, its greatest magnitude over the highest level. 8 bits take
1.016 bytes a number, 4 bits 0.531.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sextant.errors import InputError

Vector = npt.NDArray[np.float32]
_BLOCK = {8: 128, 4: 64}
_LEVELS = {8: 127, 4: 7}


def packed(values: Vector, bits: int) -> bytes:
    """A vector in so many bits a number: scales (fp16) first, then levels."""
    if bits == 32:
        return values.astype("<f4").tobytes()
    levels, scales = _levels(values, bits)
    flat = levels.reshape(-1)[: _even(len(values))]
    if bits == 4:
        shifted = (flat + 8).astype(np.uint8)
        flat = (shifted[0::2] | (shifted[1::2] << 4)).view(np.int8)
    return scales.astype("<f2").tobytes() + flat.tobytes()


def unpacked(data: bytes, count: int, bits: int) -> Vector:
    """The vector of so many numbers that `packed` wrote.

    Raises:
        InputError: the bytes are not so many as that takes.
    """
    if len(data) != packed_bytes(count, bits):
        what = f"{len(data)} bytes, not the {packed_bytes(count, bits)} of {count} numbers"
        raise InputError(what, where="outer gradient")
    if bits == 32:
        return np.frombuffer(data, "<f4").astype(np.float32)
    block = _BLOCK[bits]
    blocks = -(-count // block)
    scales = np.frombuffer(data, "<f2", blocks).astype(np.float32)
    rest = np.frombuffer(data, np.uint8, offset=2 * blocks)
    if bits == 4:
        both = np.empty((len(rest), 2), np.int8)
        both[:, 0] = (rest & 15).astype(np.int8) - 8
        both[:, 1] = (rest >> 4).astype(np.int8) - 8
        levels = both.reshape(-1)
    else:
        levels = rest.view(np.int8)
    out = levels[:count].astype(np.float32)
    out *= np.repeat(scales, block)[:count]
    return out


def packed_bytes(count: int, bits: int) -> int:
    """Bytes of so many numbers."""
    if bits == 32:
        return 4 * count
    scales = 2 * -(-count // _BLOCK[bits])
    return scales + (_even(count) // 2 if bits == 4 else _even(count))


class Feedback:
    """Packs one vector after another, adding to each what rounding took from the one before.

    Source: Seide et al. 2014, 1-bit stochastic gradient descent, section 3 (error feedback).
    """

    def __init__(self, count: int, bits: int) -> None:
        self._bits, self.owed = bits, np.zeros(count, np.float32)

    def pack(self, values: Vector) -> tuple[bytes, Vector]:
        """The bytes, and the vector that the other side will read from them."""
        whole = values + self.owed
        data = packed(whole, self._bits)
        read = unpacked(data, len(whole), self._bits)
        self.owed = whole - read
        return data, read


def _even(count: int) -> int:
    return count + count % 2


def _levels(values: Vector, bits: int) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float16]]:
    block, most = _BLOCK[bits], _LEVELS[bits]
    blocks = -(-len(values) // block)
    padded = np.zeros(blocks * block, np.float32)
    padded[: len(values)] = values
    rows = padded.reshape(blocks, block)
    # Beyond fp16's range a scale would be infinite; such a block is clipped, and owed.
    scales = np.minimum(np.abs(rows).max(axis=1) / most, 6e4).astype(np.float16)
    divisor = np.where(scales > 0, scales, np.inf).astype(np.float32)
    levels = np.clip(np.rint(rows / divisor[:, None]), -most, most)
    return levels.astype(np.int8), scales
