"""Whether a model is a BERT that `bert.py` computes; apart from it so that asking imports no
torch.
"""

from __future__ import annotations

from collections.abc import Mapping


def is_plain_bert(config: Mapping[str, object]) -> bool:
    """Whether a `config.json` describes a BERT encoder with GELU and absolute positions."""
    return (
        config.get("model_type") == "bert"
        and config.get("hidden_act") == "gelu"
        and config.get("position_embedding_type", "absolute") == "absolute"
        and not config.get("is_decoder", False)
    )
