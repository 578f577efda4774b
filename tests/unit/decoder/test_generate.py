"""Decoding with a cache: the tokens that come without one, in any company."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from sextant.decoder.engine import read_model  # noqa: E402
from sextant.decoder.generate import Batch, News, Request, generate, unpadded  # noqa: E402
from sextant.decoder.generator import GREEDY, Finish, Sampling  # noqa: E402
from sextant.decoder.model import Decoder  # noqa: E402
from sextant.decoder.sampling import Draw, next_tokens  # noqa: E402
from sextant.errors import InputError  # noqa: E402

LENGTHS = (5, 1, 17, 9, 40, 2)


@pytest.fixture(scope="module")
def model(small: Path) -> Decoder:
    return read_model(small, context=96, dtype="float32")


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(2, 320, (n,), generator=generator).tolist() for n in LENGTHS]


@torch.no_grad()
def without_cache(model: Decoder, prompt: list[int], new: int) -> list[int]:
    tokens = list(prompt)
    for _ in range(new):
        tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
    return tokens[len(prompt) :]


@pytest.mark.parametrize("rows", [1, 2, 6])
def test_ragged_prompts_give_what_each_gives_alone(
    model: Decoder, prompts: list[list[int]], rows: int
) -> None:
    written = generate(model, prompts, max_new_tokens=20, rows=rows)
    assert written == [without_cache(model, prompt, 20) for prompt in prompts]
    assert len({tuple(tokens) for tokens in written}) == len(prompts)


def test_transformers_writes_the_same(
    small: Path, model: Decoder, prompts: list[list[int]]
) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(small)
    written = generate(model, prompts, max_new_tokens=12, endings=[1])
    for prompt, ours in zip(prompts, written, strict=True):
        ids = torch.tensor([prompt])
        told = theirs.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False
        )
        assert told[0, len(prompt) :].tolist() == ours


def test_padding_on_either_side_is_no_prompt(prompts: list[list[int]]) -> None:
    left = [[0] * (40 - len(p)) + p for p in prompts]
    right = [p + [0] * (40 - len(p)) for p in prompts]
    shown = [[1] * len(p) + [0] * (40 - len(p)) for p in prompts]
    assert unpadded(right, shown) == prompts
    assert unpadded(left, [row[::-1] for row in shown]) == prompts
    with pytest.raises(InputError, match="padding"):
        unpadded([[1, 2, 3]], [[1, 0, 1]])


def test_an_ending_ends_and_the_context_too(model: Decoder, prompts: list[list[int]]) -> None:
    written = without_cache(model, prompts[0], 20)
    ending = written[6]
    cut = generate(model, prompts[:1], max_new_tokens=20, endings=[ending])[0]
    assert cut == written[: written.index(ending) + 1]
    news: list[News] = []
    (full,) = generate(model, prompts[4:5], max_new_tokens=1000, told=news.append)
    assert len(full) == 96 - 40 + 1
    assert news[-1].finish is Finish.LENGTH
    assert all(one.finish is None for one in news[:-1])


def test_a_prompt_must_fit(model: Decoder) -> None:
    with pytest.raises(InputError, match="empty"):
        generate(model, [[]], max_new_tokens=1)
    with pytest.raises(InputError, match="context is 96"):
        generate(model, [[5] * 96], max_new_tokens=1)


def test_draws_depend_on_the_seed_and_not_on_the_company(
    model: Decoder, prompts: list[list[int]]
) -> None:
    sampling = Sampling(temperature=1.0, top_p=0.95, top_k=50, seed=11)
    together = generate(model, prompts, max_new_tokens=10, sampling=sampling)
    apart = generate(model, prompts, max_new_tokens=10, sampling=sampling, rows=1)
    assert together == apart
    other = generate(model, prompts, max_new_tokens=10, sampling=Sampling(temperature=1.0, seed=12))
    assert other != together
    assert together != generate(model, prompts, max_new_tokens=10)


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().unsqueeze(0)

    def shares(sampling: Sampling) -> list[float]:
        draw = Draw(sampling)
        drawn = [int(next_tokens(logits, [draw])) for _ in range(4000)]
        return [drawn.count(token) / 4000 for token in range(4)]

    assert shares(GREEDY) == [1.0, 0.0, 0.0, 0.0]
    assert shares(Sampling(temperature=1.0)) == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.03)
    assert shares(Sampling(temperature=1.0, top_k=2)) == pytest.approx(
        [0.625, 0.375, 0, 0], abs=0.03
    )
    # The least tokens that reach 0.7 are the first two.
    assert shares(Sampling(temperature=1.0, top_p=0.7)) == pytest.approx(
        [0.625, 0.375, 0, 0], abs=0.03
    )
    cold = shares(Sampling(temperature=0.5))
    assert cold == pytest.approx([0.25 / 0.365, 0.09 / 0.365, 0.0225 / 0.365, 0.0068], abs=0.03)


def test_who_leaves_takes_nothing_along(model: Decoder, prompts: list[list[int]]) -> None:
    batch = Batch(model, rows=3)

    def request(at: int) -> Request:
        return Request(id=at, tokens=prompts[at], max_new_tokens=50)

    written: dict[int, list[int]] = {at: [] for at in range(6)}

    def note(news: list[News]) -> None:
        for one in news:
            written[one.id].append(one.token)

    note(batch.admit([request(0), request(2), request(4)]))
    for _ in range(3):
        note(batch.step())
    batch.drop([0, 99])
    assert batch.room == 1
    note(batch.admit([request(3)]))
    for _ in range(5):
        note(batch.step())
    assert [len(written[at]) for at in range(6)] == [4, 0, 9, 6, 9, 0]
    for at, tokens in written.items():
        assert tokens == without_cache(model, prompts[at], len(tokens))
    with pytest.raises(InputError, match="room for 0"):
        batch.admit([request(1)])
