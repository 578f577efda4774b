"""MinHash signatures of texts, by rensa over three-word shingles, and their bands for LSH.

Words are runs of letters and digits, in lower case. A band is a hash of eight slots of the
signature; texts of Jaccard similarity J share one of the 16 bands with probability
1 - (1 - J^8)^16: 0.01 at J = 0.4, 0.95 at 0.8, 0.994 at 0.85, 0.9999 at 0.9. The share of equal
slots estimates J with a deviation of sqrt(J (1 - J) / 128), 0.03 at 0.85.

Source: Broder, "On the resemblance and containment of documents", 1997; Leskovec, Rajaraman and
Ullman, "Mining of Massive Datasets", chapter 3.

Shape suffixes: N texts, S slots of a signature, B bands.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sextant.errors import missing_engine

Signatures = npt.NDArray[np.uint16]
Bands = npt.NDArray[np.uint64]

NUM_SLOTS = 128
NUM_BANDS = 16
_SEED = 42
_WORD = re.compile(r"\w+")
_PIECE_CHARS = 1 << 20
_MOST_WORDS_KNOWN = 1 << 20
# Odd, so that multiplying by one loses nothing; the fractional parts of square roots of primes.
_FACTORS = np.array(
    [
        0x6A09E667F3BCC909,
        0xBB67AE8584CAA73B,
        0x3C6EF372FE94F82B,
        0xA54FF53A5F1D36F1,
        0x510E527FADE682D1,
        0x9B05688C2B3E6C1F,
        0x1F83D9ABFB41BD6B,
        0x5BE0CD19137E2179,
    ],
    dtype=np.uint64,
)


def algorithm() -> str:
    """What made the signatures: only those of one algorithm compare."""
    return f"rensa-{_rensa().ALGORITHM_VERSION}/words-3/{NUM_SLOTS}x{NUM_BANDS}"


class Signer:
    """Makes signatures; knows the hashes of the words that it has met."""

    def __init__(self) -> None:
        self._words = _Words()

    def sign(self, texts: Sequence[str]) -> tuple[Signatures, Bands]:
        """The signatures [N, S] of some texts, and their bands [N, B]."""
        if not texts:
            return np.empty((0, NUM_SLOTS), np.uint16), np.empty((0, NUM_BANDS), np.uint64)
        shingles = [self._shingles(text) for text in texts]
        ends = np.cumsum([0, *(len(one) for one in shingles)])
        matrix = _rensa().digest_matrix_from_flat_token_hashes(
            np.concatenate(shingles), ends.tolist(), NUM_SLOTS, _SEED
        )
        slots_NS = np.array(matrix.to_rows(), dtype=np.uint32)
        # Sixteen bits tell two slots apart but for one chance in 65,536.
        return slots_NS.astype(np.uint16), _bands(slots_NS)

    def _shingles(self, text: str) -> npt.NDArray[np.uint64]:
        """The hashes of the text's three-word runs; of all its words, if they are fewer."""
        hashes_W = np.concatenate(
            [
                self._hashes(text[start : start + _PIECE_CHARS])
                for start in range(0, max(len(text), 1), _PIECE_CHARS)
            ]
        )
        if len(hashes_W) < 3:
            # Nothing but signs: the text itself is its only word.
            own = hashes_W if len(hashes_W) else [zlib.crc32(text.encode("utf-8", "surrogatepass"))]
            hashes_W = np.array([*own, 0, 0, 0], dtype=np.uint64)[:3]
        first, second, third = hashes_W[:-2], hashes_W[1:-1], hashes_W[2:]
        return _mixed(first * _FACTORS[0] + second * _FACTORS[1] + third * _FACTORS[2])

    def _hashes(self, text: str) -> npt.NDArray[np.uint64]:
        words = _WORD.findall(text.lower())
        if len(self._words) > _MOST_WORDS_KNOWN:
            self._words.clear()
        return np.fromiter(map(self._words.__getitem__, words), np.uint64, len(words))


class _Words(dict[str, int]):
    """Hashes of words: the same in every process, as Python's own are not."""

    def __missing__(self, word: str) -> int:
        data = word.encode("utf-8", "surrogatepass")
        self[word] = value = (zlib.crc32(data) << 32) | zlib.adler32(data)
        return value


def _bands(slots_NS: npt.NDArray[np.uint32]) -> Bands:
    slots_NBR = slots_NS.astype(np.uint64).reshape(len(slots_NS), NUM_BANDS, -1)
    return _mixed((slots_NBR * _FACTORS).sum(axis=2, dtype=np.uint64))


def _mixed(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Hashes whose every bit depends on every bit, as MinHash needs them and sums are not.

    Source: the finalizer of SplitMix64; Steele, Lea and Flood, 2014.
    """
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


def _rensa() -> Any:
    try:
        from rensa import RMinHash
    except ImportError:
        raise missing_engine("rensa", "rag") from None
    return RMinHash
