"""A trained model out of its checkpoint, in one process: to evaluate, to sample, to export."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sextant.errors import InputError, missing_engine
from sextant.systems.pretraining import checkpoint, held
from sextant.systems.pretraining.job import JOB_FILE, Job
from sextant.systems.pretraining.text import Source, pieces
from sextant.systems.pretraining.tokenizer import TOKENIZER_FILE, Tokenizer

if TYPE_CHECKING:
    from sextant.decoder.generator import Sampling
    from sextant.decoder.model import Decoder

_BATCH_PIECES = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved:
    """A checkpoint, read whole: its job, model (in evaluation mode) and tokenizer.

    `troubles` is what is wrong with newer ones.
    """

    job: Job
    step: int
    model: Decoder
    tokenizer: Tokenizer
    troubles: tuple[str, ...] = ()


def open_saved(path: Path) -> Saved:
    """Reads the newest checkpoint of a run's folder, or the one that is named itself.

    Raises:
        InputError: there is none, or it is damaged.
        EngineError: torch is missing.
    """
    out = path.resolve()
    if (out / checkpoint.CARD).is_file():
        out = out.parent.parent
    job = Job.read(out / JOB_FILE)
    newest = checkpoint.newest(path.resolve())
    if newest is None:
        raise InputError("no checkpoint yet", where=str(path), hint="sextant pretrain train ...")
    folder, card, troubles = newest
    try:
        import torch
    except ImportError:
        raise missing_engine("torch", "pretraining") from None
    from sextant.decoder.model import Decoder
    from sextant.systems.pretraining.state import training_state

    with torch.device("meta"):
        model = Decoder(job.model)
    model.allocate(torch.device("cpu"))
    checkpoint.load(training_state([model], None), folder, distributed=False)
    return Saved(
        job=job,
        step=card.step,
        model=model.eval(),
        tokenizer=Tokenizer.load(job.data),
        troubles=tuple(troubles),
    )


def evaluate(
    saved: Saved, paths: Sequence[Path], progress: Callable[[int], None] | None = None
) -> held.Score:
    """Scores text: every token of every piece but the first of all.

    Raises:
        InputError: there is no text.
    """
    import torch

    ids, num_bytes = _tokenized(saved.tokenizer, paths)
    rows = list(held.windows([ids], saved.job.sequence))
    loss, counted = 0.0, 0
    for tokens, targets in held.batches(rows, 8, 0, 1):
        some, num = _loss(saved.model, torch.from_numpy(tokens), torch.from_numpy(targets))
        loss, counted = loss + some, counted + num
        if progress is not None:
            progress(num)
    return held.score(loss, counted, num_bytes)


def _loss(model: Decoder, tokens_BS: Any, targets_BS: Any) -> tuple[float, int]:
    import torch
    import torch.nn.functional as F  # noqa: N812

    with torch.inference_mode():
        logits_BSV = model(tokens_BS)
        loss = F.cross_entropy(
            logits_BSV.flatten(0, 1),
            targets_BS.flatten(),
            ignore_index=held.IGNORED,
            reduction="sum",
        )
    return float(loss), int((targets_BS != held.IGNORED).sum())


def write_on(saved: Saved, prompts: Sequence[str], *, tokens: int, sampling: Sampling) -> list[str]:
    """What the model writes after each prompt.

    Raises:
        InputError: a prompt is empty, or fills the model's context.
    """
    from sextant.decoder.generate import generate

    tokenizer = saved.tokenizer
    # Without the token that ends a document, which `encode` puts last.
    ids = [row[:-1].tolist() for row in tokenizer.encode(list(prompts))]
    written = generate(
        saved.model,
        ids,
        max_new_tokens=tokens,
        endings=[tokenizer.end_id],
        sampling=sampling,
    )
    return [tokenizer.decode(row) for row in written]


class _Ids:
    """Ids in memory, as a stream is read."""

    def __init__(self, ids: held.Ids) -> None:
        self._ids = ids

    def __len__(self) -> int:
        return len(self._ids)

    def window(self, start: int, length: int) -> held.Ids:
        """The ids from `start` on, `length` of them."""
        return self._ids[start : start + length]


def _tokenized(tokenizer: Tokenizer, paths: Sequence[Path]) -> tuple[_Ids, int]:
    files = [file for path in paths for file in Source(path=path).files()]
    texts = list(pieces(files, lambda _: None))
    if not texts:
        raise InputError("no text in it", where=str(paths[0]))
    ids = []
    for first in range(0, len(texts), _BATCH_PIECES):
        ids += tokenizer.encode(texts[first : first + _BATCH_PIECES])
    together = np.concatenate(ids).astype(np.int64)
    return _Ids(together), sum(len(text.encode()) for text in texts)


def export(saved: Saved, folder: Path, *, dtype: str = "float32") -> None:
    """Writes a Hugging Face folder with weights, sizes and tokenizer.

    Raises:
        InputError: something is there already, or no known layout holds this model.
    """
    from sextant.decoder.hugging_face import export as write
    from sextant.decoder.shards import named_parameters

    weights = dict(named_parameters(saved.model))
    write(
        saved.job.model,
        weights.__getitem__,
        folder,
        dtype=dtype,
        special={"eos_token_id": saved.tokenizer.end_id},
        beside=[saved.job.data / name for name in (TOKENIZER_FILE, "tokenizer_config.json")],
    )
