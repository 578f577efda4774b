"""A mixture of experts: each token visits a few of many SwiGLUs, and none is ever dropped.

Experts are kept evenly loaded by what the *whole* batch did in the step before, so that splitting
a batch over micro-batches or ranks changes nothing. While a step runs, each rank only counts;
`balance_experts` ends the step with the counts of all. Two ways:

`loss`: every token pays for the experts it leans to, at prices that are their loads of the last
    step: `rate * E * sum_e load_e p_te`. It is the usual balancing loss `E * sum_e f_e P_e` over
    the global batch, but with the loads f a step late (f has no gradient; of the present step it
    is not known before all micro-batches were routed). Nothing remains of it after training.
    Source: Fedus et al. 2021, arXiv 2101.03961, section 2.2; Qiu et al. 2025, arXiv 2501.11873,
    section 3 (over the global batch).
`bias`: a bias on the choice (never on the weight) of an expert rises by `rate` after a step in
    which it got less than its share, and falls after one in which it got more. No gradient.
    Source: Wang et al. 2024, arXiv 2408.15664, algorithm 1; DeepSeek-V3, arXiv 2412.19437,
    section 2.1.2.

Shape suffixes: B, S, D, F, E, T as in `model.py`; A experts that a token visits; R = T A visits,
sorted by expert.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from sextant.decoder.config import DecoderConfig


class SwiGlu(nn.Module):
    """The gated feed-forward layer. Source: Shazeer 2020, arXiv 2002.05202."""

    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.gate = nn.Linear(hidden, inner, bias=False)
        self.up = nn.Linear(hidden, inner, bias=False)
        self.down = nn.Linear(inner, hidden, bias=False)

    def forward(self, x_BSD: Tensor) -> Tensor:
        """Each position by itself."""
        return self.down(F.silu(self.gate(x_BSD)) * self.up(x_BSD))


class Experts(nn.Module):
    """The routed experts of a layer, as grouped matrix products."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        num, hidden, inner = config.experts, config.hidden, config.expert_ffn
        self.gate_EFD = nn.Parameter(torch.empty(num, inner, hidden))
        self.up_EFD = nn.Parameter(torch.empty(num, inner, hidden))
        self.down_EDF = nn.Parameter(torch.empty(num, hidden, inner))

    def forward(self, x_RD: Tensor, count_E: Tensor) -> Tensor:
        """Each visit through its expert.

        Args:
            x_RD: visits, sorted by expert.
            count_E: how many visits each expert gets.
        """
        ends_E = count_E.cumsum(0).to(torch.int32)
        gate, up, down = (_local(w) for w in (self.gate_EFD, self.up_EFD, self.down_EDF))
        if x_RD.shape[0] == 0:
            # Nobody came, yet every weight must get its (zero) gradient, as on other ranks.
            return x_RD + 0.0 * (gate.sum() + up.sum() + down.sum())
        gated_RF = F.silu(F.grouped_mm(x_RD, gate.transpose(1, 2), offs=ends_E))
        inner_RF = gated_RF * F.grouped_mm(x_RD, up.transpose(1, 2), offs=ends_E)
        return F.grouped_mm(inner_RF, down.transpose(1, 2), offs=ends_E)


class MixtureOfExperts(nn.Module):
    """Routed experts, and shared ones beside them.

    The router's probabilities are a softmax over all experts in fp32; the weights of those visited
    are scaled to sum to one. Source: Jiang et al. 2024, arXiv 2401.04088, section 2.1; shared
    experts: Dai et al. 2024, arXiv 2401.06066, section 3.2.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.visits, self.balance, self.rate = (
            config.active_experts,
            config.balance,
            config.balance_rate,
        )
        self.router = nn.Linear(config.hidden, config.experts, bias=False)
        self.experts = Experts(config)
        shared = config.shared_experts * config.expert_ffn
        self.shared = SwiGlu(config.hidden, shared) if shared else None
        self.counting = True
        """Off while a forward pass is done again for its activations."""
        self.register_buffer("price_E", torch.empty(config.experts))
        """`loss`: load of the last step, 1 is even; `bias`: what is added to the choice."""
        self.register_buffer(
            "count_E", torch.empty(config.experts, dtype=torch.int64), persistent=False
        )
        self.register_buffer("token_weight", torch.empty(()), persistent=False)
        """1 / tokens of the whole batch: what one token's price weighs in the loss."""
        if not self.price_E.is_meta:
            self.reset()

    def reset(self) -> None:
        """As before the first step: even loads, nothing counted."""
        with torch.no_grad():
            self.price_E.fill_(1.0 if self.balance == "loss" else 0.0)
            self.count_E.zero_()
            self.token_weight.zero_()

    def forward(self, x_BSD: Tensor) -> Tensor:
        """Each position through the experts that it is routed to."""
        x_TD = x_BSD.flatten(0, 1)
        weight_TA, expert_TA = self._route(self.router(x_BSD).flatten(0, 1))
        count_E = torch.bincount(expert_TA.flatten(), minlength=self.price_E.shape[0])
        if self.counting and self.training:
            self.count_E.add_(count_E)
        order_R = expert_TA.flatten().argsort(stable=True)
        token_R = order_R // self.visits
        y_RD = self.experts(x_TD[token_R], count_E)
        y_RD = y_RD * weight_TA.flatten()[order_R].unsqueeze(-1).to(y_RD.dtype)
        y_TD = torch.zeros_like(x_TD).index_add(0, token_R, y_RD)
        if self.shared is not None:
            return y_TD.view_as(x_BSD) + self.shared(x_BSD)
        return y_TD.view_as(x_BSD)

    def _route(self, logits_TE: Tensor) -> tuple[Tensor, Tensor]:
        share_TE = logits_TE.float().softmax(-1)
        if self.balance == "bias":
            expert_TA = (share_TE + self.price_E).topk(self.visits, dim=-1).indices
            share_TA = share_TE.gather(1, expert_TA)
        else:
            share_TA, expert_TA = share_TE.topk(self.visits, dim=-1)
        weight_TA = share_TA / share_TA.sum(-1, keepdim=True)
        if self.balance == "loss" and self.training:
            # rate * E * load_e with load_e = price_e / E: even loads make it a constant.
            cost = self.rate * self.token_weight * (share_TE @ self.price_E).sum()
            weight_TA = _Attached.apply(weight_TA, cost)
        return weight_TA, expert_TA

    def take_counts(self) -> Tensor:
        """Visits of each expert since the last call, on this rank."""
        count_E = self.count_E.clone()
        self.count_E.zero_()
        return count_E

    def adjust(self, count_E: Tensor) -> None:
        """Sets prices by the visits of the whole batch."""
        even = count_E.sum() / count_E.numel()
        load_E = count_E.to(self.price_E.dtype) / even.clamp(min=1.0)
        if self.balance == "loss":
            self.price_E.copy_(load_E)
        else:
            self.price_E.add_(self.rate * torch.sign(1.0 - load_E))


class _Attached(torch.autograd.Function):
    """Hands a value through, and gives a cost beside it the gradient of one.

    So a layer's cost counts as part of the loss wherever the layer is, on any pipeline stage.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, cost: Tensor) -> Tensor:
        """The value."""
        ctx.cost = (cost.dtype, cost.device)
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """The value's gradient, and the cost's."""
        dtype, device = ctx.cost
        return gradient, torch.ones((), dtype=dtype, device=device)


def _local(weight: Tensor) -> Tensor:
    """A rank's own experts: products of groups need plain tensors."""
    return weight.to_local() if hasattr(weight, "to_local") else weight
