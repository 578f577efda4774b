"""What cannot be true of one job at once: shapes and layouts that no run can have had."""

from __future__ import annotations

from collections.abc import Iterator

from sextant.laws.layout import Layout
from sextant.laws.shape import TransformerShape

LARGEST_DOMAIN = 576
"""GPUs of the largest NVLink domain that was announced (NVIDIA, NVLink 5 switch system)."""


def contradiction(
    shape: TransformerShape, layout: Layout, *, micro_batch: bool, domain: int | None
) -> str | None:
    """The first thing about a job that cannot be, as a sentence; None where all agrees.

    `micro_batch` says whether the layout's micro-batch is stated (else it is the planner's to
    choose), `domain` the stated GPUs of a fast domain.
    """
    return next(_found(shape, layout, micro_batch, domain), None)


def _found(
    shape: TransformerShape, layout: Layout, micro_batch: bool, domain: int | None
) -> Iterator[str]:
    yield from _of_batch(layout, micro_batch)
    yield from _of_stages(shape, layout)
    yield from _of_experts(shape, layout)
    if shape.heads % layout.tp:
        yield f"tp {layout.tp} does not divide {shape.heads} heads"
    if shape.sequence % layout.cp:
        yield f"cp {layout.cp} does not divide a sequence of {shape.sequence}"
    if domain is not None and domain > LARGEST_DOMAIN:
        yield f"no fast domain has {domain} GPUs (gpus_per_node)"


def _of_batch(layout: Layout, micro_batch: bool) -> Iterator[str]:
    each = layout.dp * (layout.micro_batch if micro_batch else 1)
    if layout.global_batch % each:
        said = f"dp {layout.dp}"
        said += f" x micro_batch {layout.micro_batch}" if micro_batch else ""
        yield f"{said} does not divide the global batch of {layout.global_batch}"


def _of_stages(shape: TransformerShape, layout: Layout) -> Iterator[str]:
    # Embedding, head and extra prediction layers may take a stage of their own.
    parts = shape.layers + shape.mtp_layers + 2
    if layout.pp > parts:
        yield f"pp {layout.pp} is more than {shape.layers} layers"
    elif layout.pp > 1 and layout.pp * layout.interleave > parts:
        yield f"pp {layout.pp} x interleave {layout.interleave} is more than {shape.layers} layers"
    fullest = layout.largest_stage_layers
    if fullest is not None and fullest > parts:
        yield f"largest_stage_layers {fullest} is more than {shape.layers} layers"
    elif fullest is not None and fullest * layout.pp < shape.layers:
        yield f"{layout.pp} stages of {fullest} layers at most do not hold {shape.layers}"


def _of_experts(shape: TransformerShape, layout: Layout) -> Iterator[str]:
    if layout.ep <= 1:
        return
    if not shape.experts:
        yield f"ep {layout.ep}, but the model has no experts"
    elif shape.experts % layout.ep:
        yield f"ep {layout.ep} does not divide {shape.experts} experts"
    if layout.ep > layout.tp * layout.dp * layout.cp:
        yield f"ep {layout.ep} is more than the GPUs of a pipeline stage"
