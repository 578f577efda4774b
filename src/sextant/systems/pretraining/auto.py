"""`--layout auto`: the layout that the planner finds fastest for this model and these ranks."""

from __future__ import annotations

from sextant.decoder.config import DecoderConfig
from sextant.decoder.mesh import Degrees
from sextant.errors import InfeasibleError, InputError
from sextant.facts import Facts
from sextant.laws.layouts import search_layouts
from sextant.laws.machine import accelerator_of, constants_of, spread_of
from sextant.laws.shape import TransformerShape


def shape_of(config: DecoderConfig, sequence: int) -> TransformerShape:
    """The model as the laws see it."""
    return TransformerShape(
        layers=config.layers,
        hidden=config.hidden,
        heads=config.heads,
        kv_heads=config.kv_heads,
        head_dim=config.head_dim,
        ffn=config.ffn,
        vocab=config.vocab,
        sequence=sequence,
        tied_embeddings=config.tied,
        experts=config.experts,
        active_experts=config.active_experts,
        shared_experts=config.shared_experts,
        expert_ffn=config.expert_ffn,
        dense_layers=config.dense_layers,
        biases=False,
    )


def auto_layout(
    config: DecoderConfig,
    *,
    ranks: int,
    batch: int,
    micro_batch: int,
    sequence: int,
    machine: str,
    precision: str,
    facts: Facts,
) -> Degrees:
    """The fastest of the planner's layouts that this trainer can also run.

    Args:
        config: the model.
        ranks: devices.
        batch, micro_batch, sequence: as the job has them.
        machine: whose accelerators stand in for the devices.
        precision: number format of products, as facts name it.
        facts: the machines and the constants of the laws.

    Raises:
        InfeasibleError: none fits the memory, or none divides model and batch.
    """
    if ranks == 1:
        return Degrees()
    search = search_layouts(
        shape_of(config, sequence),
        ranks,
        accelerator_of(facts.machine(machine), facts.training),
        batch,
        precision,
        constants=constants_of(facts.training),
        spread=spread_of(facts.training),
        max_cp=1,
    )
    reason = search.constraint
    for candidate in search.best:
        layout = candidate.layout
        ep = layout.ep if config.experts else 1
        sharded = layout.zero >= 2
        data = layout.dp // ep
        degrees = Degrees(
            pp=layout.pp,
            tp=layout.tp,
            ep=ep,
            dp=1 if sharded else data,
            fsdp=data if sharded else 1,
            interleave=layout.interleave if layout.pp > 1 else 1,
        )
        try:
            degrees.check(config, batch=batch, micro_batch=micro_batch, sequence=sequence)
        except InputError as error:
            reason = reason or str(error)
            continue
        if degrees.ranks == ranks:
            return degrees
    raise InfeasibleError(
        f"no layout of {ranks} ranks: {reason}", where="--layout", hint="state one: dp=2,tp=2"
    )
