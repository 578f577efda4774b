"""`config.json`, to and from the sizes of a decoder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sextant.decoder.config import DecoderConfig, RopeScaling
from sextant.errors import InputError

_DENSE = ("llama", "mistral", "qwen2")
_HINT = "Llama, Mistral, Qwen 2 or Mixtral, as safetensors"
_LARGEST_BYTES = 10_000_000


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a model's folder.

    Raises:
        InputError: there is no such file, or no object in it.
    """
    try:
        with path.open("rb") as stream:
            value = json.loads(stream.read(_LARGEST_BYTES))
    except FileNotFoundError:
        raise InputError(f"no {path.name} here", where=str(path.parent), hint=_HINT) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {str(error)[:200]}", where=str(path)) from None
    if not isinstance(value, dict):
        raise InputError("not a JSON object", where=str(path))
    return value


def read_config(folder: Path) -> DecoderConfig:
    """The sizes of the model in a folder.

    Raises:
        InputError: it is no model of a known kind, or has a part that this decoder has not.
    """
    path = folder / "config.json"
    stated = read_json(path)
    try:
        return _config(stated)
    except InputError as error:
        hint = error.hint or _HINT
        raise InputError(error.what, where=f"{path}: {error.where or ''}", hint=hint) from None
    except (KeyError, TypeError, ValueError) as error:
        what = f"missing {error}" if isinstance(error, KeyError) else str(error)[:200]
        raise InputError(what, where=str(path), hint=_HINT) from None


def _config(stated: Mapping[str, Any]) -> DecoderConfig:
    kind = stated.get("model_type")
    if kind not in (*_DENSE, "mixtral"):
        raise InputError(f"this decoder is not a {str(kind)[:40]!r} model", where="model_type")
    _refuse_strange(stated)
    heads, hidden = int(stated["num_attention_heads"]), int(stated["hidden_size"])
    inner = int(stated["intermediate_size"])
    base, scaling = _rope(stated)
    experts: dict[str, Any] = {}
    if kind == "mixtral":
        experts = {
            "experts": int(stated["num_local_experts"]),
            "active_experts": int(stated["num_experts_per_tok"]),
            "expert_ffn": inner,
        }
    return DecoderConfig(
        vocab=int(stated["vocab_size"]),
        hidden=hidden,
        layers=int(stated["num_hidden_layers"]),
        heads=heads,
        kv_heads=int(stated.get("num_key_value_heads") or heads),
        head_dim=int(stated.get("head_dim") or hidden // heads),
        ffn=inner,
        context=int(stated["max_position_embeddings"]),
        tied=bool(stated.get("tie_word_embeddings", False)),
        qkv_bias=kind == "qwen2",
        rope_base=base,
        rope_scaling=scaling,
        norm_eps=float(stated.get("rms_norm_eps", 1e-6)),
        **experts,
    )


def _refuse_strange(stated: Mapping[str, Any]) -> None:
    """Raises for what would silently change the logits."""
    if stated.get("hidden_act", "silu") != "silu":
        raise InputError(f"activation {stated['hidden_act']!r}, not silu", where="hidden_act")
    for key in ("attention_bias", "mlp_bias", "quantization_config"):
        if stated.get(key):
            raise InputError("not supported", where=key)
    window, context = stated.get("sliding_window"), int(stated["max_position_embeddings"])
    windowed = window is not None and int(window) < context
    if windowed and stated.get("use_sliding_window", True):
        raise InputError(f"a sliding window of {window} tokens", where="sliding_window")


def _rope(stated: Mapping[str, Any]) -> tuple[float, RopeScaling | None]:
    """Base and scaling, in the words of transformers 5 or of those before."""
    rope = stated.get("rope_parameters") or stated.get("rope_scaling") or {}
    base = float(rope.get("rope_theta") or stated.get("rope_theta") or 10_000.0)
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return base, None
    if kind != "llama3":
        raise InputError(f"rotary scaling {kind!r}, not llama3", where="rope_parameters")
    scaling = RopeScaling(
        factor=float(rope["factor"]),
        low_frequency=float(rope["low_freq_factor"]),
        high_frequency=float(rope["high_freq_factor"]),
        original_context=int(rope["original_max_position_embeddings"]),
    )
    return base, scaling


def ending_tokens(folder: Path) -> tuple[int, ...]:
    """The tokens after which the model says no more; its generation settings go first."""
    for name in ("generation_config.json", "config.json"):
        if not (folder / name).is_file():
            continue
        stated = read_json(folder / name).get("eos_token_id")
        if isinstance(stated, int):
            return (stated,)
        if isinstance(stated, list):
            return tuple(int(token) for token in stated)
    return ()


def config_json(config: DecoderConfig, *, dtype: str, special: Mapping[str, int]) -> dict[str, Any]:
    """The `config.json` of a model.

    Args:
        config: its sizes.
        dtype: of its weights, `float32` or `bfloat16`.
        special: `bos_token_id`, `eos_token_id`... where the tokenizer has them.

    Raises:
        InputError: the model has parts that neither Llama's nor Mixtral's layout holds.
    """
    if config.experts:
        _check_mixtral(config)
    kind = "mixtral" if config.experts else "qwen2" if config.qkv_bias else "llama"
    name = {"mixtral": "Mixtral", "qwen2": "Qwen2", "llama": "Llama"}[kind]
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": config.rope_base}
    if (scaling := config.rope_scaling) is not None:
        rope |= {
            "rope_type": "llama3",
            "factor": scaling.factor,
            "low_freq_factor": scaling.low_frequency,
            "high_freq_factor": scaling.high_frequency,
            "original_max_position_embeddings": scaling.original_context,
        }
    experts = {
        "num_local_experts": config.experts,
        "num_experts_per_tok": config.active_experts,
        "sliding_window": None,
    }
    return {
        "architectures": [f"{name}ForCausalLM"],
        "model_type": kind,
        "vocab_size": config.vocab,
        "hidden_size": config.hidden,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.expert_ffn if config.experts else config.ffn,
        "max_position_embeddings": config.context,
        "tie_word_embeddings": config.tied,
        "rms_norm_eps": config.norm_eps,
        "hidden_act": "silu",
        "rope_parameters": rope,
        # What readers older than transformers 5 look for.
        "rope_theta": config.rope_base,
        "rope_scaling": rope if config.rope_scaling else None,
        "dtype": dtype,
        "torch_dtype": dtype,
        **(experts if config.experts else {}),
        **special,
    }


def _check_mixtral(config: DecoderConfig) -> None:
    for name, strange in (
        ("shared_experts", config.shared_experts > 0),
        ("dense_layers", config.dense_layers > 0),
        ("balance=bias", config.balance == "bias"),
        ("qkv_bias", config.qkv_bias),
    ):
        if strange:
            hint = "train without it, for a model that Hugging Face's Mixtral is to load"
            raise InputError(f"Mixtral's layout has no {name}", where="export", hint=hint)
