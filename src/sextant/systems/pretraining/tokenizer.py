"""A tokenizer: trained here on the corpus, or any that Hugging Face can read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sextant.errors import InputError, missing_engine

END = "<|endoftext|>"
TOKENIZER_FILE = "tokenizer.json"
_ENDS = (END, "</s>", "<|end_of_text|>", "<|im_end|>", "<eos>", "[SEP]")

Ids = npt.NDArray[np.uint32]


def _tokenizers() -> Any:
    # Its own threads are what makes a batch quick; they are used before any process is forked.
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    try:
        import tokenizers
    except ImportError:
        raise missing_engine("tokenizers", "pretraining") from None
    return tokenizers


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokenizer:
    """Text to ids and back. `sha256` names it; `end_id` ends a piece."""

    engine: Any
    text: str
    sha256: str
    num_ids: int
    end_id: int

    @classmethod
    def of(cls, text: str, *, end: str | None = None, where: str = TOKENIZER_FILE) -> Tokenizer:
        """The tokenizer in the text of a `tokenizer.json`.

        Raises:
            InputError: it is no tokenizer, or has no token that ends a document.
        """
        try:
            engine = _tokenizers().Tokenizer.from_str(text)
        except Exception as error:
            raise InputError(f"not a tokenizer: {error}", where=where) from error
        names = (end,) if end else _ENDS
        end_id = next((i for n in names if (i := engine.token_to_id(n)) is not None), None)
        if end_id is None:
            raise InputError(
                "the tokenizer has no token that ends a document",
                where=where,
                hint="name one as eos_token in tokenizer_config.json beside it",
            )
        engine.no_truncation()
        engine.no_padding()
        return cls(
            engine=engine,
            text=text,
            sha256=hashlib.sha256(text.encode()).hexdigest(),
            num_ids=engine.get_vocab_size(with_added_tokens=True),
            end_id=end_id,
        )

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """The tokenizer in a file `tokenizer.json`, or in a folder that holds one.

        Raises:
            InputError: there is none, or it cannot be read.
        """
        file = path / TOKENIZER_FILE if path.is_dir() else path
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"no tokenizer: {error}", where=str(file), hint="--vocab N") from error
        return cls.of(
            text, end=_named_end(file.with_name("tokenizer_config.json")), where=str(file)
        )

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """Each text's ids, the end token last."""
        encoded = self.engine.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array([*one.ids, self.end_id], np.uint32) for one in encoded]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids."""
        text: str = self.engine.decode(list(ids), skip_special_tokens=True)
        return text

    def write(self, folder: Path) -> None:
        """Write the files that Hugging Face reads."""
        end = self.engine.id_to_token(self.end_id)
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": end}
        (folder / TOKENIZER_FILE).write_text(self.text, encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def train(texts: Iterable[str], num_ids: int) -> Tokenizer:
    """A byte-level BPE tokenizer with at most `num_ids` ids, trained on the texts.

    Source: Sennrich et al. 2016 (BPE); Radford et al. 2019 (over bytes).

    Raises:
        InputError: fewer ids than there are bytes.
    """
    if not 257 <= num_ids <= 1 << 20:
        raise InputError(f"{num_ids} ids", where="--vocab", hint="from 257 to 1048576")
    kit = _tokenizers()
    engine = kit.Tokenizer(kit.models.BPE())
    engine.pre_tokenizer = kit.pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = kit.decoders.ByteLevel()
    trainer = kit.trainers.BpeTrainer(
        vocab_size=num_ids,
        special_tokens=[END],
        initial_alphabet=kit.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    engine.train_from_iterator(texts, trainer)
    return Tokenizer.of(engine.to_str(), end=END)


def _named_end(config: Path) -> str | None:
    try:
        end = json.loads(config.read_text(encoding="utf-8")).get("eos_token")
    except (OSError, ValueError, AttributeError):
        return None
    if isinstance(end, dict):
        end = end.get("content")
    return end if isinstance(end, str) else None
