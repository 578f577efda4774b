"""A model of a few lines for every test here."""

from __future__ import annotations

import pytest
from tests.word_embedder import WordEmbedder


@pytest.fixture
def embedder() -> WordEmbedder:
    return WordEmbedder()
