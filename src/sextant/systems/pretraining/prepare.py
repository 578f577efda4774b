"""`prepare`: text to packed tokens, resumable, published in one rename.

Work in progress lies beside DIR in `DIR.building`. What is done is said in its `state.json`, which
is published only after the shards' bytes are durable; whatever was written after it is cut off when
a killed run goes on.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sextant.errors import InputError
from sextant.systems.pretraining.text import Source, pieces
from sextant.systems.pretraining.tokenizer import Tokenizer, train
from sextant.systems.pretraining.tokens import MANIFEST, Part, TokensCard, write_json
from sextant.systems.pretraining.workshop import publish, workshop
from sextant.systems.pretraining.writing import PartWriter

_BATCH_PIECES = 256
_SAVE_CHARS = 64 << 20
_TOKENIZER_CHARS = 128 << 20
_MOST_TROUBLES = 20
SPLITS = ("train", "held")


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What shall be prepared.

    Attributes:
        sources: where the text is.
        num_ids: the size of the vocabulary to train; or `tokenizer`, a file or folder.
        held_fraction: the share of the pieces that is kept for validation, by a hash of their text.
        shard_tokens: a file holds no more.
    """

    sources: tuple[Source, ...]
    num_ids: int = 32_768
    tokenizer: Path | None = None
    held_fraction: float = 0.01
    shard_tokens: int = 1 << 28

    def key(self, files: Sequence[Sequence[Path]]) -> str:
        """Identifies the wish with the state of the files that it reads."""
        told = {
            "sources": [
                [str(s.path.resolve()), s.weight, [_file_state(f) for f in found]]
                for s, found in zip(self.sources, files, strict=True)
            ],
            "num_ids": self.num_ids,
            "tokenizer": Tokenizer.load(self.tokenizer).sha256 if self.tokenizer else None,
            "held": self.held_fraction,
            "shard_tokens": self.shard_tokens,
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def prepare(wish: Wish, out: Path, progress: Callable[[int, int], None]) -> TokensCard:
    """Tokenize the sources into `out`; a run that was killed goes on, a finished one is left alone.

    Args:
        wish: what and how.
        out: a folder that is not there yet, is empty, or holds the same already.
        progress: called with the bytes of text that are done, and all of them (about).

    Raises:
        InputError: the text or the options are wrong, `out` holds something else, or the disk
            refuses.
        EngineError: an engine is missing.
    """
    if not 0 <= wish.held_fraction < 1:
        raise InputError(f"{wish.held_fraction} to hold back", where="--hold", hint="such as 0.01")
    files = [source.files() for source in wish.sources]
    key = wish.key(files)
    if (out / MANIFEST).exists():
        card = TokensCard.read(out)
        if card.key == key:
            return card
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError("holds something else already", where=str(out), hint="another --out")
    try:
        with workshop(out, key) as folder:
            card = _Run(wish, key, files, folder, progress).run()
            publish(folder, out)
            return card
    except OSError as error:
        what = f"cannot write the tokens: {error.strerror or error}"
        raise InputError(what, where=str(error.filename or out)) from error


class _Run:
    """One run of `prepare`, from its last durable state on."""

    def __init__(
        self,
        wish: Wish,
        key: str,
        files: Sequence[Sequence[Path]],
        folder: Path,
        progress: Callable[[int, int], None],
    ) -> None:
        self._wish, self._key, self._files, self._folder = wish, key, files, folder
        self._progress = progress
        self._all_bytes = sum(f.stat().st_size for found in files for f in found)
        self._seen: set[bytes] = set()
        self._troubles: list[str] = []
        self._done_pieces = 0
        self._num_duplicates = 0
        self._text_bytes = 0

    def run(self) -> TokensCard:
        tokenizer = self._tokenizer()
        dtype = "<u2" if tokenizer.num_ids <= 1 << 16 else "<u4"
        with contextlib.ExitStack() as stack:
            writers = self._writers(dtype)
            for writer in writers.values():
                stack.callback(writer.close)
            self._fill(tokenizer, writers)
            return self._finish(tokenizer, dtype, writers)

    def _fill(self, tokenizer: Tokenizer, writers: dict[tuple[int, str], PartWriter]) -> None:
        skip, unsaved = self._done_pieces, 0
        numbered = enumerate(self._pieces())
        while batch := list(itertools.islice(numbered, _BATCH_PIECES)):
            fresh = [(s, text) for _, (s, text) in batch if self._is_new(text)]
            if batch[-1][0] < skip:
                continue
            # A saved state is always at a batch's end, so a batch is either done or not at all.
            self._write(fresh, tokenizer, writers)
            self._done_pieces = batch[-1][0] + 1
            unsaved += sum(len(text) for _, (_, text) in batch)
            if unsaved > _SAVE_CHARS:
                self._save(writers)
                unsaved = 0
            self._progress(min(self._text_bytes, self._all_bytes), self._all_bytes)

    def _pieces(self) -> Iterator[tuple[int, str]]:
        for number, found in enumerate(self._files):
            for text in pieces(found, self._trouble):
                self._text_bytes += len(text.encode())
                yield number, text

    def _is_new(self, text: str) -> bool:
        digest = hashlib.blake2b(text.strip().encode(), digest_size=16).digest()
        if digest in self._seen:
            self._num_duplicates += 1
            return False
        self._seen.add(digest)
        return True

    def _write(
        self,
        fresh: Sequence[tuple[int, str]],
        tokenizer: Tokenizer,
        writers: dict[tuple[int, str], PartWriter],
    ) -> None:
        for (source, text), ids in zip(
            fresh, tokenizer.encode([text for _, text in fresh]), strict=True
        ):
            split = "held" if _chance(text) < self._wish.held_fraction else "train"
            writers[source, split].append(ids, len(text.encode()))

    def _tokenizer(self) -> Tokenizer:
        """The tokenizer of the killed run, or the one that is wished for."""
        if (self._folder / "tokenizer.ready").exists():
            return Tokenizer.load(self._folder)
        if self._wish.tokenizer is not None:
            tokenizer = Tokenizer.load(self._wish.tokenizer)
        else:
            tokenizer = train(self._sampled_text(), self._wish.num_ids)
        tokenizer.write(self._folder)
        (self._folder / "tokenizer.ready").touch()
        return tokenizer

    def _sampled_text(self) -> Iterator[str]:
        """Text to train the tokenizer on: every n-th piece, so that it is of bounded size."""
        step = max(1, self._all_bytes // _TOKENIZER_CHARS)
        found = False
        for number, (_, text) in enumerate(self._pieces()):
            if number % step == 0:
                found = True
                yield text
        self._text_bytes = 0
        self._troubles.clear()
        if not found:
            raise InputError("no text in the corpus", where=str(self._wish.sources[0].path))

    def _writers(self, dtype: str) -> dict[tuple[int, str], PartWriter]:
        state = self._folder / "state.json"
        saved: dict[str, Any] = {"pieces": 0, "parts": {}}
        if state.exists():
            saved = json.loads(state.read_text(encoding="utf-8"))
        self._done_pieces = saved["pieces"]
        return {
            (number, split): PartWriter(
                self._folder,
                f"{split}-{number:02d}",
                dtype,
                self._wish.shard_tokens,
                saved["parts"].get(f"{split}-{number:02d}"),
            )
            for number in range(len(self._files))
            for split in SPLITS
        }

    def _save(self, writers: dict[tuple[int, str], PartWriter]) -> None:
        parts = {writer.name: writer.save() for writer in writers.values()}
        write_json(self._folder / "state.json", {"pieces": self._done_pieces, "parts": parts})

    def _finish(
        self, tokenizer: Tokenizer, dtype: str, writers: dict[tuple[int, str], PartWriter]
    ) -> TokensCard:
        parts = []
        for (number, split), writer in writers.items():
            shards = writer.finish()
            weight = self._wish.sources[number].weight
            part = Part(
                name=str(self._wish.sources[number].path),
                split=split,
                weight=weight if weight is not None else float(sum(s.tokens for s in shards)),
                text_bytes=writer.text_bytes,
                shards=shards,
            )
            if split == "train" and not part.tokens:
                raise InputError("no text in this source", where=part.name)
            if part.tokens:
                parts.append(part)
        card = TokensCard(
            key=self._key,
            dtype=dtype,
            tokenizer_sha256=tokenizer.sha256,
            num_ids=tokenizer.num_ids,
            end_id=tokenizer.end_id,
            parts=tuple(parts),
            duplicates=self._num_duplicates,
            troubles=tuple(self._troubles),
        )
        card.write(self._folder)
        return card

    def _trouble(self, what: str) -> None:
        if len(self._troubles) < _MOST_TROUBLES:
            self._troubles.append(what)


def _chance(text: str) -> float:
    """A number in [0, 1) that only the text decides, so a piece is held in every run or in none."""
    digest = hashlib.blake2b(text.encode(), digest_size=8, key=b"held").digest()
    return int.from_bytes(digest, "big") / 2**64


def _file_state(path: Path) -> list[object]:
    stat = path.stat()
    return [str(path.resolve()), stat.st_size, stat.st_mtime_ns]
