"""The meshes that a job's GPUs may form: every way to split them that divides as it must."""

from __future__ import annotations

from sextant.laws.shape import TransformerShape

MESH = ("tp", "pp", "dp", "cp", "ep", "interleave", "micro_batch")
MICRO_BATCHES = (1, 2, 4, 8, 16)
INTERLEAVES = (1, 2, 3, 4, 5, 6, 8)
HEADS = "the tensor degree does not divide the heads"
STAGES = "more pipeline stages than layers"
CONTEXT = "context pieces of less than 8,192 tokens are not tried"
BATCH = "the data degree does not divide the global batch"


def divisors(n: int) -> list[int]:
    """All divisors, ascending."""
    small = [d for d in range(1, int(n**0.5) + 1) if n % d == 0]
    return sorted({*small, *(n // d for d in small)})


def mesh_rows(
    shape: TransformerShape, gpus: int, fast_domain: int, global_batch: int, max_cp: int
) -> tuple[list[tuple[int, ...]], dict[str, int]]:
    """All (tp, pp, dp, cp, ep, interleave, micro_batch) that divide as they must.

    Tensor groups stay in one fast domain and divide the heads; stages and virtual stages divide
    the layers' count (the last may be short); data and micro-batch divide the batch; experts
    divide over the ranks of a stage.
    """
    rows: list[tuple[int, ...]] = []
    fell: dict[str, int] = {}
    for tp in (d for d in divisors(gpus) if d <= fast_domain):
        if shape.heads % tp:
            fell[HEADS] = fell.get(HEADS, 0) + 1
            continue
        for cp in divisors(gpus // tp):
            if cp > max_cp:
                fell[CONTEXT] = fell.get(CONTEXT, 0) + 1
                continue
            for pp in divisors(gpus // tp // cp):
                if pp > shape.layers:
                    fell[STAGES] = fell.get(STAGES, 0) + 1
                    continue
                dp = gpus // (tp * cp * pp)
                if global_batch % dp:
                    fell[BATCH] = fell.get(BATCH, 0) + 1
                    continue
                rows.extend(_inner(shape, tp, pp, dp, cp, global_batch))
    return rows, fell


def _inner(
    shape: TransformerShape, tp: int, pp: int, dp: int, cp: int, batch: int
) -> list[tuple[int, ...]]:
    experts = [1]
    if shape.experts:
        experts = [e for e in divisors(shape.experts) if (tp * dp * cp) % e == 0]
    micro = [b for b in MICRO_BATCHES if (batch // dp) % b == 0]
    even = -(-shape.layers // pp)
    chunks = [1]
    if pp > 1:
        chunks = [v for v in INTERLEAVES if even % v == 0]
    return [
        (tp, pp, dp, cp, ep, v, b)
        for ep in experts
        for v in chunks
        for b in micro
        if v == 1 or (batch // dp // b) % pp == 0
    ]
