"""A model of a few lines: tokens are words, vectors are bags of hashed words."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np

_TOKEN = re.compile(r"\w+|[^\w\s]")


class WordFolder:
    """Stands in for a `ModelFolder`."""

    name = "words"
    path = "nowhere"
    fingerprint = "f" * 32
    max_tokens = 26
    num_special_tokens = 2
    document_prompt = query_prompt = ""

    def spans(self, text: str) -> list[tuple[int, int]]:
        return [match.span() for match in _TOKEN.finditer(text)]


class WordEmbedder:
    """Bags of words: texts that share words are near. Counts what it encodes, and can be killed."""

    number_format = "float32"
    dims = 64

    def __init__(self) -> None:
        self.folder = WordFolder()
        self.num_encoded = 0
        self.dies_after: int | None = None

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        vectors_ND = np.full((len(texts), self.dims), 1e-3, np.float32)
        for vector_D, text in zip(vectors_ND, texts, strict=True):
            if self.dies_after is not None and self.num_encoded >= self.dies_after:
                raise KeyboardInterrupt
            self.num_encoded += 1
            for word in re.findall(r"\w+", text.lower()):
                vector_D[hashlib.md5(word.encode()).digest()[0] % self.dims] += 1
        return vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)
