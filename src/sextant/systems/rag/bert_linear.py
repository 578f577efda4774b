"""A linear layer with its weights laid out once for the processor's own matrix kernels.

Shape suffixes: T tokens, I inputs, O outputs.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812

# The layout depends on the number of rows only in its choice of blocks; any large number will do.
_TYPICAL_ROWS = 1024


class Linear:
    """x_TI -> act(x_TI W_OI^T + b_O).

    PyTorch's `linear` in bfloat16 lays the weights out anew at every call and adds the bias in a
    pass of its own; oneDNN's kernel does both once, and the activation while the result is in
    registers (measured on an EPYC with AVX-512 bfloat16, one thread, 4,096 x 384 x 1,536 with GELU:
    28.0 ms against 25.1 ms). Where that kernel is missing, PyTorch's own is used.
    """

    def __init__(self, weight_OI: torch.Tensor, bias_O: torch.Tensor, *, gelu: bool) -> None:
        self._weight_OI = weight_OI.contiguous()
        self._bias_O = bias_O
        self._gelu = gelu
        self._packed: Any = None
        if weight_OI.dtype == torch.bfloat16 and _has_packed_bfloat16():
            self._packed = torch.ops.mkldnn._reorder_linear_weight(self._weight_OI, _TYPICAL_ROWS)

    def __call__(self, x_TI: torch.Tensor) -> torch.Tensor:
        """The layer's outputs [T, O]."""
        if self._packed is not None:
            act, kind = ("gelu", "none") if self._gelu else ("none", "")
            return torch.ops.mkldnn._linear_pointwise(
                x_TI, self._packed, self._bias_O, act, [], kind
            )
        y_TO = F.linear(x_TI, self._weight_OI, self._bias_O)
        return F.gelu(y_TO) if self._gelu else y_TO


def _has_packed_bfloat16() -> bool:
    """Whether this build and this processor have oneDNN's bfloat16 kernels."""
    ops = torch.ops.mkldnn
    try:
        packs = hasattr(ops, "_reorder_linear_weight") and hasattr(ops, "_linear_pointwise")
        return packs and bool(ops._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):
        return False
