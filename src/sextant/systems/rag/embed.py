"""Texts to unit vectors, offline, batched by length.

Shape suffixes: N texts, B texts in a batch, L tokens, H hidden size, D dimensions of a vector.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from sextant.errors import InputError, missing_engine
from sextant.systems.rag.bert_config import is_plain_bert
from sextant.systems.rag.model import ModelFolder, find_model

Floats = npt.NDArray[np.float32]
Format = Literal["float32", "bfloat16"]

# Tokens in a batch, padding included: more does not fill a core better, and its states leave the
# caches.
_BATCH_TOKENS = 2048
_ONE_THREAD_TOKENS = 128


class Embedder(Protocol):
    """A model that makes vectors. The vectors of two embedders compare iff their fingerprints are
    equal.
    """

    @property
    def folder(self) -> ModelFolder:
        """The model's files, tokenizer and window."""
        ...

    @property
    def number_format(self) -> Format:
        """What it computes in; the vectors are float32 in any case."""
        ...

    @property
    def dims(self) -> int:
        """Dimensions of a vector."""
        ...

    def encode(self, texts: Sequence[str]) -> Floats:
        """Unit vectors [N, D] of the texts, each cut to the model's window."""
        ...


def open_embedder(
    model: str | None = None,
    *,
    number_format: Format | None = None,
    num_threads: int | None = None,
    num_shares: int | None = None,
) -> Embedder:
    """The embedder of a local model, or of the MiniLM that comes with Sextant.

    Weights are read at the first `encode`. Without a `number_format` it is bfloat16 where the
    processor multiplies it natively (twice the rate of float32, vectors at a cosine of 0.9999
    and more to float32's), else float32.

    Args:
        model: a folder, or a name in the local cache.
        number_format: what to compute in.
        num_threads: threads to compute with; by default as many as the process has cores.
        num_shares: into how many parts texts are divided at the least; by default the threads.

    Raises:
        InputError: the folder holds no model.
        EngineError: an engine or the default model's package is missing.
    """
    folder = find_model(model)
    plain = is_plain_bert(folder.config) and (folder.path / "model.safetensors").is_file()
    stack = folder.modules in (("Transformer", "Pooling"), ("Transformer", "Pooling", "Normalize"))
    if plain and stack and folder.pooling in ("mean", "cls"):
        return BertEmbedder(folder, number_format, num_threads, num_shares)
    return SentenceTransformersEmbedder(folder)


def native_format() -> Format:
    """The quickest format of this processor whose vectors rank as float32's do."""
    torch = _torch()
    try:
        has = torch.cpu.get_capabilities()
    except (AttributeError, RuntimeError):
        return "float32"
    return "bfloat16" if has.get("avx512_bf16") or has.get("amx_bf16") else "float32"


class BertEmbedder:
    """Our own forward pass of a BERT with mean or first-token pooling: torch is all that it
    imports.

    Each core takes a batch of its own. Two cores at one batch wait for each other after every
    product, and spin while they wait: alone on the machine that costs little, but beside seven busy
    processes the same abstracts took 44 s of processor time in place of 15 s (docs/log.md).
    """

    def __init__(
        self,
        folder: ModelFolder,
        number_format: Format | None,
        num_threads: int | None = None,
        num_shares: int | None = None,
    ) -> None:
        self.folder = folder
        self._format = number_format
        self._bert: Any = None
        self._loading = threading.Lock()
        self._num_threads = num_threads or len(os.sched_getaffinity(0))
        self._num_shares = num_shares or self._num_threads
        self._threads: ThreadPoolExecutor | None = None

    @property
    def number_format(self) -> Format:
        """See `Embedder`; found out when first asked for."""
        if self._format is None:
            self._format = native_format()
        return self._format

    @property
    def dims(self) -> int:
        """See `Embedder`."""
        return int(self.folder.config["hidden_size"])

    def encode(self, texts: Sequence[str]) -> Floats:
        """See `Embedder`."""
        ids_N = self.folder.token_ids(list(texts))
        lengths_N = [len(ids) for ids in ids_N]
        self._load()
        vectors_ND = np.empty((len(texts), self.dims), np.float32)
        # A question is too little work to share, and goes without another thread.
        alone = sum(lengths_N) <= _ONE_THREAD_TOKENS or self._num_shares == 1
        share = (
            _BATCH_TOKENS if alone else max(_ONE_THREAD_TOKENS, sum(lengths_N) // self._num_shares)
        )
        batches = list(_batches(lengths_N, min(_BATCH_TOKENS, share)))

        def encode_batch(batch_B: list[int]) -> None:
            vectors_ND[batch_B] = self._encode_batch([ids_N[text] for text in batch_B])

        # The longest first: what is left for one core alone at the end is little.
        alone = alone or self._num_threads == 1
        for _ in (map if alone else self._pool.map)(encode_batch, reversed(batches)):
            pass
        return vectors_ND

    @property
    def _pool(self) -> ThreadPoolExecutor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._num_threads, "embed")
        return self._threads

    def _load(self) -> None:
        with self._loading:
            if self._bert is None:
                from sextant.systems.rag.bert import Bert

                self._bert = Bert(self.folder.path, dtype=getattr(_torch(), self.number_format))

    def _encode_batch(self, ids_B: list[list[int]]) -> Floats:
        torch = _torch()
        torch.set_num_threads(1)  # of this thread alone
        lengths_B = [len(ids) for ids in ids_B]
        ids_BL = torch.zeros((len(ids_B), max(lengths_B)), dtype=torch.int64)
        for row, ids in enumerate(ids_B):
            ids_BL[row, : len(ids)] = torch.tensor(ids)
        states_BLH = self._bert(ids_BL, lengths_B).float()
        if self.folder.pooling == "cls":
            pooled_BD = states_BLH[:, 0]
        else:
            own_BL = torch.arange(max(lengths_B)) < torch.tensor(lengths_B)[:, None]
            # A sum and not a mean: the vector is scaled to unit length right away.
            pooled_BD = (states_BLH * own_BL[:, :, None]).sum(dim=1)
        vectors_BD: Floats = torch.nn.functional.normalize(pooled_BD, dim=1).numpy()
        return vectors_BD


class SentenceTransformersEmbedder:
    """Any other model, through the library itself."""

    number_format: Format = "float32"

    def __init__(self, folder: ModelFolder) -> None:
        self.folder = folder
        self._loaded: Any = None

    @property
    def _model(self) -> Any:
        if self._loaded is None:
            try:
                from sentence_transformers import SentenceTransformer
            except ImportError:
                raise missing_engine("sentence-transformers", "rag") from None
            try:
                self._loaded = SentenceTransformer(
                    str(self.folder.path), device="cpu", local_files_only=True
                )
            except (OSError, ValueError, KeyError) as error:
                raise InputError(
                    f"not a model that sentence-transformers loads: {error}",
                    where=str(self.folder.path),
                ) from error
        return self._loaded

    @property
    def dims(self) -> int:
        """See `Embedder`."""
        model = self._model
        # Renamed in sentence-transformers 6.
        name = "get_embedding_dimension"
        ask = getattr(model, name, None) or model.get_sentence_embedding_dimension
        return int(ask())

    def encode(self, texts: Sequence[str]) -> Floats:
        """See `Embedder`."""
        if not texts:
            return np.empty((0, self.dims), np.float32)
        vectors_ND: Floats = self._model.encode(
            list(texts), prompt="", normalize_embeddings=True, show_progress_bar=False
        )
        return vectors_ND


def encode_blocks(
    embedder: Embedder, texts: Sequence[str], done: Callable[[int], None], block: int = 128
) -> Floats:
    """Encode with a word after every `block` texts; for progress within a large batch."""
    # Lengths mix within a block, so sort first: padding is work for nothing.
    order = sorted(range(len(texts)), key=lambda text: len(texts[text]))
    vectors_ND = np.empty((len(texts), embedder.dims), np.float32)
    for start in range(0, len(order), block):
        chosen = order[start : start + block]
        vectors_ND[chosen] = embedder.encode([texts[text] for text in chosen])
        done(len(chosen))
    return vectors_ND


def _batches(lengths: list[int], most_tokens: int) -> Iterator[list[int]]:
    """Texts in batches of like length, at most `most_tokens` padded tokens each; shortest first."""
    order = sorted(range(len(lengths)), key=lambda text: lengths[text])
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and (end + 1 - start) * lengths[order[end]] <= most_tokens:
            end += 1
        yield order[start:end]
        start = end


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise missing_engine("torch", "rag") from None
    return torch
