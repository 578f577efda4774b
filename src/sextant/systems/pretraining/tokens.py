"""Tokens on disk: `tokens.json` and, beside it, packed arrays of ids that are memory-mapped.

DIR/tokens.json            what is here: tokenizer, parts, and each shard's size and checksum
DIR/tokenizer.json         the tokenizer that made it
DIR/train-00-00000.bin     ids of one source, little-endian, one piece after the other, each ended
DIR/train-00-00000.ends    where each piece ends, int64
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sextant.errors import InputError
from sextant.systems.pretraining.tokenizer import TOKENIZER_FILE, Tokenizer

FORMAT = "sextant-tokens/1"
MANIFEST = "tokens.json"
_READ_BYTES = 1 << 22

Ids = npt.NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardCard:
    """One shard's file (without suffix), its tokens and pieces, and the SHA-256 of its ids."""

    file: str
    tokens: int
    pieces: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """The tokens of one source on one side of the split: `train` or `held`.

    `text_bytes` is the size of the text that they came from, in UTF-8.
    """

    name: str
    split: str
    weight: float
    text_bytes: int
    shards: tuple[ShardCard, ...]

    @property
    def tokens(self) -> int:
        """How many tokens."""
        return sum(shard.tokens for shard in self.shards)


@dataclass(frozen=True, kw_only=True, slots=True)
class TokensCard:
    """What `tokens.json` says; `key` identifies the wish that it was made for."""

    key: str
    dtype: str
    tokenizer_sha256: str
    num_ids: int
    end_id: int
    parts: tuple[Part, ...]
    duplicates: int
    troubles: tuple[str, ...] = ()

    def tokens(self, split: str) -> int:
        """The tokens on one side of the split."""
        return sum(part.tokens for part in self.parts if part.split == split)

    def write(self, folder: Path) -> None:
        """Write it durably."""
        write_json(folder / MANIFEST, {"format": FORMAT, **asdict(self)})

    @classmethod
    def read(cls, folder: Path) -> TokensCard:
        """The card in a folder.

        Raises:
            InputError: there is none, or it is damaged.
        """
        path = folder / MANIFEST
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            if value.pop("format") != FORMAT:
                raise InputError(f"not tokens of format {FORMAT}", where=str(path))
            parts = tuple(
                Part(**{**part, "shards": tuple(ShardCard(**one) for one in part["shards"])})
                for part in value.pop("parts")
            )
            return cls(parts=parts, **{**value, "troubles": tuple(value["troubles"])})
        except FileNotFoundError:
            hint = "sextant pretrain prepare --text PATH --out DIR"
            raise InputError("no tokens here", where=str(folder), hint=hint) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"damaged: {error}", where=str(path)) from error


class Stream:
    """The tokens of one part as one long array, over the shards' mapped files."""

    def __init__(self, arrays: Sequence[Ids]) -> None:
        self._arrays = arrays
        self._starts = np.cumsum([0, *(len(array) for array in arrays)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def window(self, start: int, length: int) -> npt.NDArray[np.int64]:
        """The ids from `start` on, `length` of them [length]."""
        out = np.empty(length, np.int64)
        shard = int(np.searchsorted(self._starts, start, side="right")) - 1
        done = 0
        while done < length:
            offset = start + done - int(self._starts[shard])
            got = self._arrays[shard][offset : offset + length - done]
            out[done : done + len(got)] = got
            done += len(got)
            shard += 1
        return out


class Tokens:
    """Open tokens: a stream a part."""

    def __init__(self, folder: Path, card: TokensCard) -> None:
        self.folder = folder
        self.card = card

    @classmethod
    def open(cls, folder: Path, *, verify: bool = True) -> Tokens:
        """Open what `prepare` wrote, and compare each shard with its checksum.

        Raises:
            InputError: there is none, or a shard is torn or corrupt; the shard is named.
        """
        card = TokensCard.read(folder)
        for part in card.parts:
            for shard in part.shards:
                _check(folder, shard, np.dtype(card.dtype).itemsize, hashed=verify)
        return cls(folder, card)

    def stream(self, part: Part) -> Stream:
        """The tokens of a part."""
        dtype = np.dtype(self.card.dtype)
        return Stream(
            [np.memmap(self.folder / f"{s.file}.bin", dtype, "r") for s in part.shards if s.tokens]
        )

    def tokenizer(self) -> Tokenizer:
        """The tokenizer that made them.

        Raises:
            InputError: it is gone or another one.
        """
        tokenizer = Tokenizer.load(self.folder)
        if tokenizer.sha256 != self.card.tokenizer_sha256:
            raise InputError(
                "not the tokenizer that made these tokens", where=str(self.folder / TOKENIZER_FILE)
            )
        return tokenizer


def write_json(path: Path, value: Any) -> None:
    """Publish a JSON file: write, sync, rename."""
    temporary = path.with_name(path.name + ".new")
    with temporary.open("w", encoding="utf-8") as stream:
        json.dump(value, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _check(folder: Path, shard: ShardCard, item_bytes: int, *, hashed: bool) -> None:
    path = folder / f"{shard.file}.bin"
    hint = "prepare the tokens again, into another folder"
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"torn: {error.strerror}", where=str(path), hint=hint) from error
    if size != shard.tokens * item_bytes:
        wanted = shard.tokens * item_bytes
        raise InputError(f"torn: {size} bytes, not {wanted}", where=str(path), hint=hint)
    if hashed and sha256_of(path) != shard.sha256:
        raise InputError("corrupt: not its checksum", where=str(path), hint=hint)
