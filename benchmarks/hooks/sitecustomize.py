"""In every rank of a struck training: SIGUSR1 puts a NaN into its weights, as a broken chip may."""

from __future__ import annotations

import gc
import signal
import sys
from types import FrameType


def _poison(_number: int, _frame: FrameType | None) -> None:
    if "sextant.decoder.model" not in sys.modules:
        return
    import torch

    from sextant.decoder.model import Decoder
    from sextant.decoder.shards import local_part

    parts = [held for held in gc.get_objects() if issubclass(type(held), Decoder)]
    with torch.no_grad():
        for part in parts:
            for weight in part.parameters():
                local_part(weight).view(-1)[:1].fill_(float("nan"))


signal.signal(signal.SIGUSR1, _poison)
