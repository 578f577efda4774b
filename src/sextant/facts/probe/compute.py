"""Memory bandwidth, matrix products and one encoder layer."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sextant.facts.probe.timing import median_s

_STREAM_BYTES = 1 << 28
_MATMUL = 1536
_LAYER_WIDTH, _LAYER_FFN, _LAYER_HEADS = 384, 1536, 12
_BATCH, _TOKENS, _SMALL_TOKENS, _SHORT_LAYERS = 32, 256, 16, 8


def memory(cores: int) -> dict[str, float]:
    """Bytes read per second by one core and by all (a sum over 256 MiB, 64-bit words)."""
    import numpy as np

    words = np.ones(_STREAM_BYTES // 8)
    one = _STREAM_BYTES / median_s(words.sum, for_s=0.5)
    parts = np.array_split(words, cores)
    with ThreadPoolExecutor(cores) as pool:

        def everywhere() -> list[Any]:
            return list(pool.map(lambda part: part.sum(), parts))

        whole = _STREAM_BYTES / median_s(everywhere, for_s=0.5)
    return {"memory_read_bytes_per_s": max(one, whole), "memory_read_one_core_bytes_per_s": one}


def matmul(cores: int) -> dict[str, float]:
    """FLOP/s of a square matrix product in fp32 and bf16 on all cores; numpy's without torch."""
    flops = 2.0 * _MATMUL**3
    try:
        import torch
    except ImportError:
        import numpy as np

        a = np.ones((_MATMUL, _MATMUL), np.float32)
        return {"matmul_fp32_flops_per_s": flops / median_s(lambda: a @ a, for_s=1.0)}
    torch.set_num_threads(cores)
    found = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        b = torch.ones(_MATMUL, _MATMUL, dtype=dtype)
        seconds = median_s(lambda b=b: b @ b, for_s=0.8)  # type: ignore[misc]
        found[f"matmul_{name}_flops_per_s"] = flops / seconds
    return found


def batch_flops_per_s(cores: int) -> dict[str, float]:
    """FLOP/s of one transformer encoder layer over a batch, by number format; empty without torch.

    Random weights, width 384: matrix products with softmax, norms and activations between them,
    which is what embedding is made of; no model is loaded.
    """
    try:
        import torch
    except ImportError:
        return {}
    torch.set_num_threads(cores)
    matrices = 4 * _LAYER_WIDTH**2 + 2 * _LAYER_WIDTH * _LAYER_FFN
    flops = _BATCH * _TOKENS * (2.0 * matrices + 4.0 * _LAYER_WIDTH * _TOKENS)
    found = {}
    for name, dtype in _formats(torch).items():
        layer = _Layer(torch, dtype)
        batch = torch.randn(_BATCH, _TOKENS, _LAYER_WIDTH).to(dtype)
        with torch.inference_mode():
            seconds = median_s(lambda x=batch, f=layer: f(x), for_s=0.3)  # type: ignore[misc]
        found[f"encoder_{name}_flops_per_s"] = flops / seconds
    return found


def short_stack() -> dict[str, Callable[[], float]]:
    """By number format, a call that gives the seconds of a layer over 16 tokens on one thread.

    It goes through eight layers in turn, so that their weights come from memory as a model's do.
    """
    try:
        import torch
    except ImportError:
        return {}
    return {name: _short(torch, dtype) for name, dtype in _formats(torch).items()}


def _short(torch: Any, dtype: Any) -> Callable[[], float]:
    layers = [_Layer(torch, dtype) for _ in range(_SHORT_LAYERS)]
    text = torch.randn(1, _SMALL_TOKENS, _LAYER_WIDTH).to(dtype)

    def encode() -> float:
        torch.set_num_threads(1)
        start_s = time.perf_counter()
        with torch.inference_mode():
            for layer in layers:
                layer(text)
        return (time.perf_counter() - start_s) / _SHORT_LAYERS

    return encode


def _formats(torch: Any) -> dict[str, Any]:
    return {"fp32": torch.float32, "bf16": torch.bfloat16}


class _Layer:
    """One encoder layer with random weights; shapes B, L, H as in BERT."""

    def __init__(self, torch: Any, dtype: Any) -> None:
        self._torch = torch
        self._f = torch.nn.functional
        width, ffn = _LAYER_WIDTH, _LAYER_FFN
        shapes = ((3 * width, width), (width, width), (ffn, width), (width, ffn))
        self._weights = [(torch.randn(*shape) * 0.02).to(dtype) for shape in shapes]
        self._biases = [torch.zeros(shape[0], dtype=dtype) for shape in shapes]
        self._scale = torch.ones(width, dtype=dtype)

    def __call__(self, x: Any) -> Any:
        f, (count, tokens, width) = self._f, x.shape
        qkv = f.linear(x, self._weights[0], self._biases[0])
        qkv = qkv.view(count, tokens, 3, _LAYER_HEADS, width // _LAYER_HEADS).permute(2, 0, 3, 1, 4)
        mixed = f.scaled_dot_product_attention(*qkv).transpose(1, 2).reshape(count, tokens, width)
        mixed = f.linear(mixed, self._weights[1], self._biases[1])
        x = f.layer_norm(x + mixed, (width,), self._scale)
        inner = f.gelu(f.linear(x, self._weights[2], self._biases[2]))
        return f.layer_norm(
            x + f.linear(inner, self._weights[3], self._biases[3]), (width,), self._scale
        )


def index_scan() -> dict[str, float]:
    """Bytes per second that one Faiss thread scans in a flat index, and a search's fixed cost."""
    try:
        import faiss
        import numpy as np
    except ImportError:
        return {}
    faiss.omp_set_num_threads(1)
    dims, found = 384, {}
    rng = np.random.default_rng(0)
    query = rng.standard_normal((1, dims), np.float32)
    seconds = {}
    for name, count in (("fixed", 8), ("cached", 1_000), ("scan", 100_000)):
        index = faiss.IndexFlatIP(dims)
        index.add(rng.standard_normal((count, dims), np.float32))
        seconds[name] = median_s(lambda i=index: i.search(query, 10), for_s=0.4)  # type: ignore[misc]
    fixed = seconds["fixed"]
    found["faiss_fixed_s"] = fixed
    for name, count in (("cached", 1_000), ("scan", 100_000)):
        found[f"faiss_{name}_bytes_per_s"] = count * dims * 4 / max(1e-9, seconds[name] - fixed)
    return found
