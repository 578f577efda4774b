"""Tensor bytes of the fullest rank, predicted beside counted, under six layouts on a processor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.bench import Figure
from sextant.decoder.config import DecoderConfig
from sextant.decoder.mesh import Degrees
from sextant.plan.training_memory import RankShape, rank_bytes
from sextant.systems.pretraining.auto import shape_of

LAYOUTS = ("1", "dp=2", "fsdp=2", "tp=2", "pp=2", "tp=2,pp=2")
MODEL = DecoderConfig(
    vocab=2048, hidden=192, layers=6, heads=6, kv_heads=2, head_dim=32, ffn=512, context=128
)
BATCH, MICRO_BATCH, SEQUENCE = 8, 2, 128
_PARTS = ("parameters", "gradients", "optimizer", "activations")


def run() -> list[Figure]:
    """Counts every layout, and compares."""
    figures = []
    for layout in LAYOUTS:
        counted = max(_counted(layout), key=lambda held: sum(held[name] for name in _PARTS))
        predicted = asdict(predict(Degrees.parse(layout)))
        ours, seen = (sum(found[name] for name in _PARTS) for found in (predicted, counted))
        beside = {f"{name} x": predicted[name] / counted[name] for name in _PARTS}
        figures.append(
            Figure(
                name=f"predicted over counted, {layout}",
                measured=ours / seen,
                unit="",
                bar="within 5%",
                held=abs(ours / seen - 1.0) <= 0.05,
                beside={
                    **beside,
                    "counted, MB": seen / 1e6,
                    "process, MB": counted["process"] / 1e6,
                },
            )
        )
    return figures


def predict(degrees: Degrees) -> Any:
    """What the plan says of a layout."""
    split = RankShape(
        pp=degrees.pp,
        tp=degrees.tp,
        fsdp=degrees.fsdp,
        micro_batch=MICRO_BATCH,
        micro_batches=BATCH // degrees.data // MICRO_BATCH,
    )
    return rank_bytes(shape_of(MODEL, SEQUENCE), split)


def _counted(layout: str) -> list[dict[str, float]]:
    ranks = Degrees.parse(layout).ranks
    order = json.dumps(
        {
            "layout": layout,
            "model": asdict(MODEL),
            "micro_batch": MICRO_BATCH,
            "batch": BATCH,
            "sequence": SEQUENCE,
        }
    )
    worker = Path(__file__).with_name("held_worker.py")
    with tempfile.TemporaryDirectory() as folder:
        running = [
            subprocess.Popen(
                [sys.executable, str(worker), order],
                env={
                    **os.environ,
                    "RANK": str(rank),
                    "WORLD_SIZE": str(ranks),
                    "MASTER_ADDR": "127.0.0.1",
                    "MASTER_PORT": "29571",
                },
                stdout=subprocess.PIPE,
                stderr=(Path(folder) / f"{rank}").open("wb"),
                text=True,
            )
            for rank in range(ranks)
        ]
        told = [process.communicate(timeout=240)[0] for process in running]
        for rank, text in enumerate(told):
            if "HELD " not in text:
                raise RuntimeError((Path(folder) / f"{rank}").read_text()[-2000:])
    return [json.loads(text.split("HELD ", 1)[1]) for text in told]
