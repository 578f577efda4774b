"""The language model: pretraining trains it, RAG answers with it."""

from sextant.decoder.engine import open_generator
from sextant.decoder.generator import (
    GREEDY,
    Finish,
    Generation,
    Generator,
    Piece,
    Sampling,
)

__all__ = ["GREEDY", "Finish", "Generation", "Generator", "Piece", "Sampling", "open_generator"]
