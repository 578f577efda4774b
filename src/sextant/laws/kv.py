"""Memory of a served model: its weights and its key-value cache."""

from __future__ import annotations


def kv_bytes_per_token(
    layers: float, kv_heads: float, head_dim: float, element_bytes: float
) -> float:
    """Bytes of keys and values that one token leaves behind: `2 x L x kv_heads x head_dim x b`.

    Llama 3 70B: 2 x 80 x 8 x 128 x 2 = 327,680 bytes.
    Source: Pope et al. 2022, Efficiently Scaling Transformer Inference, section 3.3; grouped
    queries: Ainslie et al. 2023.
    """
    return 2.0 * layers * kv_heads * head_dim * element_bytes


def requests_that_fit(
    memory_bytes: float, weight_bytes: float, kv_bytes_per_request: float
) -> float:
    """Requests whose caches fit in what the weights leave free; at least 0."""
    return max(0.0, memory_bytes - weight_bytes) / max(kv_bytes_per_request, 1e-300)


def latent_kv_bytes_per_token(layers: float, latent_width: float, element_bytes: float) -> float:
    """Bytes that one token leaves behind with latent attention: `L x (rank + rotary) x b`.

    Keys and values share one latent vector; DeepSeek-V3: 61 x (512 + 64) x 2 = 70,272 bytes.
    Source: DeepSeek-AI 2024 (DeepSeek-V2), section 2.1.3.
    """
    return layers * latent_width * element_bytes
