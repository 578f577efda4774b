"""A mixture of experts against a plain loop, and its balance."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402, N812

from sextant.decoder.config import DecoderConfig  # noqa: E402
from sextant.decoder.experts import MixtureOfExperts  # noqa: E402

CONFIG = DecoderConfig(
    vocab=64,
    hidden=16,
    layers=1,
    heads=2,
    kv_heads=2,
    head_dim=8,
    ffn=32,
    context=16,
    experts=4,
    active_experts=2,
    expert_ffn=8,
    shared_experts=1,
)


def made(config: DecoderConfig = CONFIG) -> MixtureOfExperts:
    generator = torch.Generator().manual_seed(0)
    layer = MixtureOfExperts(config)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    return layer


def test_no_token_is_dropped_even_if_all_want_one_expert() -> None:
    layer = made()
    with torch.no_grad():
        layer.router.weight[1:] = 0.0
        layer.router.weight[0] = 1.0
    x_BSD = torch.rand(2, 8, 16) + 0.5  # all lean to expert 0
    shares = F.softmax(layer.router(x_BSD), -1)
    kept, chosen = shares.topk(2, -1)
    kept = kept / kept.sum(-1, keepdim=True)
    expected = layer.shared(x_BSD)
    for place in range(2):
        for expert in range(4):
            gate, up, down = (
                getattr(layer.experts, name)[expert] for name in ("gate_EFD", "up_EFD", "down_EDF")
            )
            through = (F.silu(x_BSD @ gate.T) * (x_BSD @ up.T)) @ down.T
            mine = (chosen[..., place] == expert).unsqueeze(-1)
            expected = expected + through * kept[..., place].unsqueeze(-1) * mine
    torch.testing.assert_close(layer(x_BSD), expected, rtol=1e-5, atol=1e-6)
    assert int(layer.take_counts()[0]) == 16


@pytest.mark.parametrize("balance", ["loss", "bias"])
def test_a_lopsided_router_is_levelled(balance: str) -> None:
    rate = 0.5 if balance == "loss" else 0.05
    layer = made(replace(CONFIG, balance=balance, balance_rate=rate))
    x_BSD = torch.randn(8, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        layer.router.weight[0] = layer.router.weight[1] + 0.3
        x_BSD[..., 0] += 3.0
        layer.router.weight[0, 0] += 1.0
    adam = torch.optim.Adam(layer.router.parameters(), lr=0.02)
    layer.token_weight.fill_(1.0 / 128)
    worst = []
    for _ in range(60):
        (layer(x_BSD) * 0.0).sum().backward()  # the balance alone moves anything
        if balance == "loss":
            adam.step()
        adam.zero_grad()
        count_E = layer.take_counts()
        layer.adjust(count_E)
        worst.append(float(count_E.max() / count_E.float().mean()))
    assert worst[0] > 1.8
    assert worst[-1] < 1.3


def test_splitting_a_batch_changes_no_gradient_and_no_price() -> None:
    x_BSD = torch.randn(4, 8, 16, generator=torch.Generator().manual_seed(2))

    def trained(pieces: int) -> tuple[torch.Tensor, torch.Tensor]:
        layer = made()
        layer.token_weight.fill_(1.0 / 32)
        for _ in range(2):
            layer.zero_grad()
            for piece in x_BSD.chunk(pieces):
                (layer(piece).square().sum() / 32).backward()
            layer.adjust(layer.take_counts())
        return layer.router.weight.grad, layer.price_E

    whole, split = trained(1), trained(4)
    torch.testing.assert_close(split[0], whole[0], rtol=1e-5, atol=1e-7)
    assert torch.equal(split[1], whole[1])
    assert not torch.equal(whole[1], torch.ones(4))


def test_evaluation_counts_and_charges_nothing() -> None:
    layer = made().eval()
    layer(torch.randn(1, 4, 16))
    assert int(layer.take_counts().sum()) == 0
