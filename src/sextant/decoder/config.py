"""The sizes of a decoder, by name, or from a file; nothing here needs torch."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from sextant.errors import InputError

_LARGEST_FILE_BYTES = 1_000_000
_VOCAB_MULTIPLE = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class RopeScaling:
    """Llama 3.1's stretching of rotary positions beyond the context it was trained on.

    Wavelengths over `original_context / low_frequency` are divided by `factor`, those under
    `original_context / high_frequency` stay, and those between are blended.
    Source: Llama 3, arXiv 2407.21783, section 3.4.3; `rope_type: llama3` in its `config.json`.
    """

    factor: float
    low_frequency: float
    high_frequency: float
    original_context: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DecoderConfig:
    """A Llama-style decoder, dense or with experts.

    Attributes:
        vocab: tokens in the vocabulary.
        hidden: width of the residual stream.
        layers: how many blocks.
        heads: query heads.
        kv_heads: heads of keys and values; each serves `heads / kv_heads` query heads.
        head_dim: width of one head.
        ffn: inner width of the SwiGLU of a dense layer.
        context: the most tokens of one sequence.
        tied: whether the output projection is the embedding.
        qkv_bias: whether the projections to queries, keys and values have biases (Qwen 2).
        rope_base: base of the rotary wavelengths.
        rope_scaling: how they are stretched, if they are.
        norm_eps: added to the mean square in RMSNorm.
        experts: routed experts of a layer; 0 is a dense model.
        active_experts: how many of them a token visits.
        expert_ffn: inner width of one.
        shared_experts: experts that every token visits, beside the routed ones.
        dense_layers: so many first layers have no experts.
        balance: how experts are kept evenly loaded: `loss` or `bias` (see `experts.py`).
        balance_rate: weight of the balancing loss, or step of the bias.
    """

    vocab: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    context: int
    tied: bool = True
    qkv_bias: bool = False
    rope_base: float = 10_000.0
    rope_scaling: RopeScaling | None = None
    norm_eps: float = 1e-5
    experts: int = 0
    active_experts: int = 0
    expert_ffn: int = 0
    shared_experts: int = 0
    dense_layers: int = 0
    balance: str = "loss"
    balance_rate: float = 0.01

    def __post_init__(self) -> None:
        whole = ("vocab", "hidden", "layers", "heads", "kv_heads", "head_dim", "ffn", "context")
        for name in whole:
            if getattr(self, name) < 1:
                raise InputError(f"at least 1, not {getattr(self, name)}", where=f"model.{name}")
        if self.heads % self.kv_heads:
            raise InputError(f"{self.kv_heads} must divide {self.heads} heads", where="kv_heads")
        if self.head_dim % 2:
            raise InputError("rotary positions need an even head_dim", where="model.head_dim")
        if self.experts:
            self._check_experts()

    def _check_experts(self) -> None:
        if not 1 <= self.active_experts <= self.experts:
            what = f"between 1 and {self.experts} experts, not {self.active_experts}"
            raise InputError(what, where="model.active_experts")
        if self.expert_ffn < 1:
            raise InputError("how wide is an expert?", where="model.expert_ffn")
        if self.balance not in ("loss", "bias"):
            raise InputError(f"loss or bias, not {self.balance!r}", where="model.balance")

    def has_experts(self, layer: int) -> bool:
        """Whether that layer is one with experts."""
        return self.experts > 0 and layer >= self.dense_layers


SIZES: Mapping[str, DecoderConfig] = {
    "10m": DecoderConfig(
        vocab=8192, hidden=256, layers=10, heads=8, kv_heads=4, head_dim=32, ffn=768, context=512
    ),
    "124m": DecoderConfig(
        vocab=50_304,
        hidden=768,
        layers=12,
        heads=12,
        kv_heads=12,
        head_dim=64,
        ffn=2048,
        context=1024,
    ),
    "1b": DecoderConfig(
        vocab=128_256,
        hidden=2048,
        layers=16,
        heads=32,
        kv_heads=8,
        head_dim=64,
        ffn=8192,
        context=8192,
        rope_base=500_000.0,
    ),
}
"""Sizes by name. The second has the widths of GPT-2, the third those of Llama 3.2 1B."""

_KEYS = {"sequence": "context", "tied_embeddings": "tied"}
"""Keys of a workload's `[model]` that are called otherwise here."""
_ELSEWHERE = ("parameters", "active_parameters", "mlp", "attention", "dtype", "kind")
"""Keys of a workload's `[model]` that say nothing about the sizes of a decoder."""


def named_config(name: str, vocab: int | None = None) -> DecoderConfig:
    """The sizes of a name, of a TOML file (its `[model]` table), or of a Hugging Face folder.

    Args:
        name: or path.
        vocab: tokens in the vocabulary of a name, and of a file that states none.

    Raises:
        InputError: there is no such name, or the file does not say a decoder.
    """
    if name in SIZES:
        return SIZES[name] if vocab is None else replace(SIZES[name], vocab=vocab)
    path = Path(name)
    if path.is_dir():
        from sextant.decoder.hugging_face import read_config

        return read_config(path)
    if not path.is_file():
        close = difflib.get_close_matches(name, SIZES, 1)
        hint = f"did you mean {close[0]}?" if close else f"{', '.join(SIZES)}, or a TOML file"
        raise InputError(f"no model {name[:80]!r}", where="--model", hint=hint)
    return read_toml(path, vocab)


def read_toml(path: Path, vocab: int | None = None) -> DecoderConfig:
    """The sizes that a TOML file states in `[model]`, with the keys of a workload.

    Args:
        path: of the file.
        vocab: tokens in the vocabulary, if the file states none.

    Raises:
        InputError: it is not TOML, has no `[model]`, or a key is missing, unknown or of a wrong
            kind.
    """
    try:
        with path.open("rb") as stream:
            text = stream.read(_LARGEST_FILE_BYTES).decode("utf-8-sig")
        table = tomllib.loads(text).get("model")
    except (OSError, ValueError) as error:
        raise InputError(f"not a TOML file: {str(error)[:200]}", where=str(path)) from None
    if not isinstance(table, dict):
        raise InputError("no [model] table", where=str(path))
    stated = {
        _KEYS.get(str(key), str(key)): value
        for key, value in table.items()
        if key not in _ELSEWHERE
    }
    try:
        return from_mapping(stated if vocab is None else {"vocab": vocab, **stated})
    except InputError as error:
        raise InputError(error.what, where=f"{path}: {error.where}", hint=error.hint) from None


def from_mapping(stated: Mapping[str, Any]) -> DecoderConfig:
    """The config of plain data, as `dataclasses.asdict` gives it; what follows may be left out.

    Raises:
        InputError: a key is missing, unknown, or of a wrong kind; `where` is the key.
    """
    values = dict(stated)
    known = {field.name: str(field.type) for field in fields(DecoderConfig)}
    for key, value in values.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
            raise InputError("unknown key", where=f"model.{key}", hint=hint)
        values[key] = _typed(key, value, known[key])
    values.setdefault("kv_heads", values.get("heads"))
    if "head_dim" not in values and values.get("heads") and values.get("hidden"):
        if values["hidden"] % values["heads"]:
            raise InputError("heads must divide hidden (or give head_dim)", where="model.heads")
        values["head_dim"] = values["hidden"] // values["heads"]
    if values.get("experts"):
        values.setdefault("ffn", values.get("expert_ffn"))
        values.setdefault("active_experts", 2)
    for key in ("vocab", "hidden", "layers", "heads", "ffn", "context"):
        if values.get(key) is None:
            name = "sequence" if key == "context" else key
            raise InputError("missing", where=f"model.{key}", hint=f"add `{name} = ...`")
    return DecoderConfig(**values)


def _typed(key: str, value: Any, kind: str) -> Any:
    """The value as the field takes it."""
    if kind.startswith("RopeScaling"):
        return RopeScaling(**value) if isinstance(value, dict) else value
    wanted: dict[str, tuple[type, ...]] = {
        "int": (int,),
        "float": (int, float),
        "bool": (bool,),
        "str": (str,),
    }
    right = isinstance(value, wanted[kind]) and (kind == "bool") == isinstance(value, bool)
    if not right:
        what = {"int": "a whole number", "float": "a number", "bool": "true or false"}
        told = f"{what.get(kind, 'text')}, not {value!r:.40}"
        raise InputError(told, where=f"model.{key}")
    return value


def vocab_for(num_ids: int) -> int:
    """The vocabulary for a tokenizer of so many ids, rounded up so that ranks divide it."""
    return -(-num_ids // _VOCAB_MULTIPLE) * _VOCAB_MULTIPLE
