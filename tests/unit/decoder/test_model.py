"""Logits against Hugging Face's, and folders there and back."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from sextant.decoder.config import DecoderConfig, RopeScaling  # noqa: E402
from sextant.decoder.hugging_face import (  # noqa: E402
    Weights,
    ending_tokens,
    export,
    load_weights,
    read_config,
)
from sextant.decoder.initial import initialize  # noqa: E402
from sextant.decoder.model import Decoder, Part  # noqa: E402
from sextant.decoder.shards import named_parameters  # noqa: E402
from sextant.errors import InputError  # noqa: E402

SIZES: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
STRETCHED = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
THEIRS: dict[str, Callable[[], Any]] = {
    "llama": lambda: transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**SIZES, tie_word_embeddings=True)
    ),
    "llama, stretched": lambda: transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**SIZES, rope_parameters=STRETCHED, initializer_range=0.2)
    ),
    "qwen2": lambda: transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**SIZES)),
    "mixtral": lambda: transformers.MixtralForCausalLM(
        transformers.MixtralConfig(**SIZES, num_local_experts=4, initializer_range=0.2)
    ),
}
DENSE = DecoderConfig(
    vocab=64, hidden=32, layers=2, heads=4, kv_heads=2, head_dim=8, ffn=48, context=64
)
EXPERTS = DecoderConfig(
    vocab=64,
    hidden=32,
    layers=2,
    heads=4,
    kv_heads=4,
    head_dim=8,
    ffn=24,
    context=64,
    tied=False,
    experts=4,
    active_experts=2,
    expert_ffn=24,
    rope_base=500_000.0,
    rope_scaling=RopeScaling(
        factor=8.0, low_frequency=1.0, high_frequency=4.0, original_context=16
    ),
)


def tokens() -> torch.Tensor:
    return torch.randint(0, 64, (3, 40), generator=torch.Generator().manual_seed(5))


def far(ours: Decoder, theirs: Any) -> float:
    with torch.no_grad():
        return float((ours.eval()(tokens()) - theirs.eval()(tokens()).logits).abs().max())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small Llama as transformers writes it."""
    torch.manual_seed(0)
    THEIRS["llama"]().save_pretrained(tmp_path / "model", max_shard_size="20KB")
    return tmp_path / "model"


@pytest.mark.parametrize("kind", THEIRS)
def test_a_folder_of_theirs_gives_their_logits(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = THEIRS[kind]()
    if kind == "qwen2":
        for name, parameter in theirs.named_parameters():
            if name.endswith("bias"):  # zero at first, which would prove nothing
                torch.nn.init.normal_(parameter)
    theirs.save_pretrained(tmp_path)
    ours = Decoder(config := read_config(tmp_path))
    load_weights(ours, Weights(tmp_path, config))
    assert far(ours, theirs) < 1e-5


@pytest.mark.parametrize("config", [DENSE, EXPERTS], ids=["llama", "mixtral"])
def test_a_folder_of_ours_is_read_by_theirs(config: DecoderConfig, tmp_path: Path) -> None:
    ours = Decoder(config)
    initialize(ours, 1)
    weights = dict(named_parameters(ours))
    special = {"bos_token_id": 1, "eos_token_id": 2}
    export(config, weights.__getitem__, tmp_path / "out", special=special, file_bytes=20_000)
    assert len(list((tmp_path / "out").glob("*.safetensors"))) > 1
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert far(ours, theirs) < 1e-5
    assert read_config(tmp_path / "out") == config
    assert ending_tokens(tmp_path / "out") == (2,)


def test_a_part_reads_its_own_slices(folder: Path) -> None:
    weights = Weights(folder, read_config(folder))
    whole = weights.part("layers.1.attention.q.weight", (slice(0, 32), slice(0, 32)))
    part = weights.part("layers.1.attention.q.weight", (slice(8, 16), slice(4, 32)))
    assert torch.equal(part, whole[8:16, 4:32])


def test_stages_in_a_row_are_the_whole() -> None:
    whole = Decoder(DENSE)
    initialize(whole, 1)
    first = Decoder(DENSE, Part(layers=[0], last=False))
    last = Decoder(DENSE, Part(layers=[1], first=False))
    initialize(first, 1)
    initialize(last, 1)
    torch.testing.assert_close(last(first(tokens())), whole(tokens()), rtol=0, atol=0)


def test_first_weights_depend_on_the_seed_alone() -> None:
    one, two, three = Decoder(DENSE), Decoder(DENSE), Decoder(DENSE)
    initialize(one, 1)
    initialize(two, 1)
    initialize(three, 2)
    for a, b, c in zip(one.parameters(), two.parameters(), three.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a.dim() == 1 or not torch.equal(a, c)


def test_an_export_overwrites_nothing_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    weights = dict(named_parameters(Decoder(DENSE)))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="something is there"):
        export(DENSE, weights.__getitem__, tmp_path / "out")

    def fails(name: str) -> torch.Tensor:
        if name == "norm.weight":
            raise RuntimeError("lost")
        return weights[name]

    with pytest.raises(RuntimeError):
        export(DENSE, fails, tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    "changes", [{"shared_experts": 1}, {"dense_layers": 1}, {"balance": "bias"}]
)
def test_what_mixtral_has_not_is_told(changes: dict[str, Any], tmp_path: Path) -> None:
    from dataclasses import replace

    config = replace(EXPERTS, **changes)
    with pytest.raises(InputError, match="Mixtral's layout has no"):
        export(config, dict(named_parameters(Decoder(config))).__getitem__, tmp_path / "out")


def test_pickles_are_refused(folder: Path) -> None:
    config = read_config(folder)
    for path in folder.glob("model*"):
        path.unlink()
    with pytest.raises(InputError, match=r"no model\.safetensors"):
        Weights(folder, config)
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(InputError, match="pickle"):
        Weights(folder, config)


def test_a_damaged_folder_is_named(folder: Path) -> None:
    config = read_config(folder)
    index = folder / "model.safetensors.index.json"
    told = json.loads(index.read_text())
    victim = folder / sorted(set(told["weight_map"].values()))[0]
    kept = victim.read_bytes()

    victim.write_bytes(kept[: len(kept) // 2])
    with pytest.raises(InputError, match="corrupt"):
        Weights(folder, config)
    victim.write_bytes(struct.pack("<Q", 1 << 60) + kept[8:])
    with pytest.raises(InputError, match="corrupt"):
        Weights(folder, config)
    victim.unlink()
    with pytest.raises(InputError, match="not there"):
        Weights(folder, config)
    told["weight_map"]["model.norm.weight"] = "../elsewhere.safetensors"
    index.write_text(json.dumps(told))
    with pytest.raises(InputError, match="not a file of weights"):
        Weights(folder, config)


def test_a_weight_that_is_not_finite_is_named(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    config = read_config(folder)
    told = json.loads((folder / "model.safetensors.index.json").read_text())
    path = folder / told["weight_map"]["model.norm.weight"]
    tensors = load_file(path)
    tensors["model.norm.weight"][0] = math.nan
    save_file(tensors, path)
    with pytest.raises(InputError, match=r"model\.norm\.weight is not finite"):
        load_weights(Decoder(config), Weights(folder, config))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"hidden_size": 64}, "config.json makes it"),
        ({"num_hidden_layers": 3}, "is missing"),
        ({"num_hidden_layers": 1}, "is not part of this model"),
    ],
)
def test_weights_that_do_not_match_are_named(
    folder: Path, change: dict[str, Any], what: str
) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=what):
        Weights(folder, read_config(folder))


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "gpt2"},
        {"hidden_act": "gelu"},
        {"attention_bias": True},
        {"quantization_config": {"bits": 4}},
        {"sliding_window": 16},
        {"rope_parameters": {"rope_type": "yarn"}},
        {"hidden_size": "many"},
        {"hidden_size": None},
        {"num_attention_heads": 3},
    ],
)
def test_another_arithmetic_is_refused(folder: Path, change: dict[str, Any]) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError):
        read_config(folder)


def test_words_of_transformers_before_5_are_understood(folder: Path) -> None:
    path = folder / "config.json"
    told = json.loads(path.read_text())
    told.pop("rope_parameters")
    scaling = {key: value for key, value in STRETCHED.items() if key != "rope_theta"}
    path.write_text(json.dumps({**told, "rope_theta": 500000.0, "rope_scaling": scaling}))
    config = read_config(folder)
    assert config.rope_base == 500000.0
    assert config.rope_scaling == EXPERTS.rope_scaling
