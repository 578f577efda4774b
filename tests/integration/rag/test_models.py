"""Any sentence-transformers model: of another architecture, with prompts, by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sextant.errors import InputError
from sextant.systems.rag.build import build_index, chunk_rule
from sextant.systems.rag.corpus import open_corpus
from sextant.systems.rag.embed import SentenceTransformersEmbedder, open_embedder
from sextant.systems.rag.model import DEFAULT_MODEL, find_model
from sextant.systems.rag.remembered import embedder_of
from sextant.systems.rag.service import open_service

WORDS = ("the", "tide", "turns", "at", "noon", "and", "every", "boat", "in", "harbour", "rope")
PROMPTS = {"query": "noon tide ", "document": "rope boat "}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DistilBERT of random weights, of which sentence-transformers makes vectors."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import DistilBertConfig, DistilBertModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    encoder = tmp_path_factory.mktemp("encoder")
    vocabulary = {word: n for n, word in enumerate(["[PAD]", "[UNK]", *dict.fromkeys(WORDS)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=32
    ).save_pretrained(encoder)
    config = DistilBertConfig(
        vocab_size=len(vocabulary), dim=16, n_layers=1, n_heads=2, hidden_dim=32,
        max_position_embeddings=32,
    )  # fmt: skip
    DistilBertModel(config).save_pretrained(encoder)
    folder = tmp_path_factory.mktemp("models") / "tiny-distil"
    transformer = Transformer(str(encoder), max_seq_length=32)
    pooling = Pooling(transformer.get_embedding_dimension())
    SentenceTransformer(modules=[transformer, pooling], device="cpu", prompts=PROMPTS).save(
        str(folder)
    )
    return folder


def test_another_architecture_is_the_librarys(model: Path, tmp_path: Path) -> None:
    embedder = open_embedder(str(model))
    assert isinstance(embedder, SentenceTransformersEmbedder)
    assert embedder.folder.max_tokens == 32
    corpus = tmp_path / "c.txt"
    corpus.write_text(". ".join(" ".join(WORDS) for _ in range(9)))
    manifest = build_index(open_corpus(str(corpus)), tmp_path / "index", embedder).manifest
    assert manifest.dims == 16
    assert manifest.about["model"] == "tiny-distil"
    assert manifest.vectors > 3
    with open_service(tmp_path / "index") as service:
        hits = service.search("boat in harbour", mode="dense").hits
    assert len(hits) == manifest.vectors
    assert embedder_of(manifest).folder.fingerprint == manifest.space


def test_prompts_are_put_before_passages_and_questions(model: Path, tmp_path: Path) -> None:
    embedder = open_embedder(str(model))
    rule = chunk_rule(embedder, 0, first_only=False)
    assert rule.max_tokens == 32 - 2
    corpus = tmp_path / "c.txt"
    corpus.write_text("the tide turns")
    build_index(open_corpus(str(corpus)), tmp_path / "index", embedder)
    with open_service(tmp_path / "index", embedder=embedder) as service:
        (hit,) = service.search("every boat", mode="dense").hits
    passage_D, question_D = embedder.encode(["rope boat c the tide turns", "noon tide every boat"])
    assert hit.score == pytest.approx(float(passage_D @ question_D), abs=1e-5)
    library = embedder._model
    assert np.allclose(library.encode("every boat", prompt_name="query", normalize_embeddings=True),
                       question_D, atol=1e-6)  # fmt: skip


def test_a_model_in_the_cache_is_found_by_its_name(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache as huggingface_hub lays it out."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    home = tmp_path / "models--sentence-transformers--tiny-distil"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("a" * 40)
    (home / "snapshots").mkdir()
    (home / "snapshots" / ("a" * 40)).symlink_to(model)
    for name in ("tiny-distil", "sentence-transformers/tiny-distil"):
        assert find_model(name).fingerprint == find_model(str(model)).fingerprint
    assert find_model(f"sentence-transformers/{DEFAULT_MODEL}").name == DEFAULT_MODEL
    for name in ("no-such-model", "no such model", "a/b/c", ""):
        with pytest.raises(InputError, match=r"no such model|not a sentence"):
            find_model(name)


def test_what_decides_the_vectors_is_in_the_fingerprint(model: Path, tmp_path: Path) -> None:
    import shutil

    other = shutil.copytree(model, tmp_path / "other")
    before = find_model(str(other)).fingerprint
    assert before == find_model(str(model)).fingerprint
    (other / "README.md").write_text("changed")
    assert find_model(str(other)).fingerprint == before
    told = json.loads((other / "config_sentence_transformers.json").read_text())
    told["prompts"]["query"] = "other "
    (other / "config_sentence_transformers.json").write_text(json.dumps(told))
    assert find_model(str(other)).fingerprint != before
