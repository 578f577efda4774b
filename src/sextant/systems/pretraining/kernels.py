"""Unit costs for predicting a training step: single pieces at a rank's sizes, and no trainer.

One process of this module is one rank: all ranks measure the same piece at the same time, as they
would train. Pieces are two layers, the two ends of the model, their updates; then the same split
and sharded as the layout says, with next to no tokens, so that what splitting costs is left.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from sextant.decoder.config import DecoderConfig, from_mapping
from sextant.decoder.mesh import Degrees, Meshes, make_meshes
from sextant.decoder.model import Decoder, Part
from sextant.decoder.parallelize import Treatment, parallelize
from sextant.systems.pretraining.gradients import clip
from sextant.systems.pretraining.sampler import Sampler

_REPEATS = 7
_LAYERS = 2
_LONGEST_S = 120.0
TOLD = "COSTS "
_Piece = tuple[Decoder, Callable[[], Tensor]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What one rank measures.

    Attributes:
        config: the whole model.
        degrees: of the ranks that measure.
        pipelined: whether the layout is a pipeline, which keeps weights gathered in a step.
        sequence, micro_batch: of one pass.
        threads: of this rank.
    """

    config: DecoderConfig
    degrees: Degrees
    pipelined: bool
    sequence: int
    micro_batch: int
    threads: int


def measure(order: Order) -> dict[str, float]:
    """Every unit cost but those of data and of starting; the ranks have met."""
    meshes = None if order.degrees.ranks == 1 else make_meshes(order.degrees)
    plain = _plain(order)
    found = _compute_costs(order, plain)
    if meshes is not None:
        found |= _split_costs(order, meshes, plain) | _message_costs(order, meshes)
        found["meet_s"] = _median_s(lambda: _sum_of(torch.zeros(1)))
    return found


def _plain(order: Order) -> DecoderConfig:
    """The layers and ends that one rank has of the model, as if they were a whole one."""
    config, tp = order.config, order.degrees.tp
    return replace(
        config,
        layers=_LAYERS,
        heads=config.heads // tp,
        kv_heads=config.kv_heads // tp,
        ffn=config.ffn // tp,
        vocab=config.vocab // tp,
    )


def _compute_costs(order: Order, config: DecoderConfig) -> dict[str, float]:
    tokens = order.micro_batch, order.sequence
    layers, embed, head = (piece(config, tokens) for piece in (_layers, _embed, _head))
    return {
        "layer_s": _pass_s(layers) / _LAYERS,
        "embed_s": _pass_s(embed),
        "head_s": _pass_s(head),
        "layer_update_s": _update_s(layers[0], None) / _LAYERS,
        "ends_update_s": _update_s(embed[0], None) + _update_s(head[0], None),
    }


def _pass_s(piece: _Piece) -> float:
    _, forward = piece
    return _median_s(lambda: forward().backward())


def _update_s(model: Decoder, meshes: Meshes | None) -> float:
    """The norm of the gradients that a pass left, and AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def update() -> None:
        clip([model], meshes, 1.0)
        optimizer.step()

    return _median_s(update)


def _split_costs(order: Order, meshes: Meshes, plain: DecoderConfig) -> dict[str, float]:
    """What splitting and sharding adds to a pass over as few tokens as can be split; updates."""
    few, whole = (1, order.degrees.tp), replace(order.config, layers=_LAYERS)
    found = {}
    for name, piece, count in (("layer", _layers, _LAYERS), ("ends", _ends, 1)):
        alone_s = _pass_s(piece(plain, few))
        model, forward = piece(whole, few, meshes)

        def passed(forward: Callable[[], Tensor] = forward) -> None:
            with _split_loss(order.degrees):
                forward().backward()

        _hold(model, travels=False, gathered=order.pipelined)
        pass_s = _median_s(passed)
        _hold(model, travels=True, gathered=False)
        last_s = _median_s(passed)
        found[f"{name}_split_s"] = max(0.0, pass_s - alone_s) / count
        found[f"{name}_reduce_s"] = max(0.0, last_s - pass_s) / count
        found[f"{name}_update_s"] = _update_s(model, meshes) / count
    return found


def _hold(model: Any, *, travels: bool, gathered: bool) -> None:
    """Whether gradients travel after a pass, and whether weights stay gathered."""
    model.set_requires_gradient_sync(travels)
    model.set_is_last_backward(travels)
    model.set_reshard_after_backward(not gathered)


def _split_loss(degrees: Degrees) -> Any:
    from contextlib import nullcontext

    from torch.distributed.tensor.parallel import loss_parallel

    return loss_parallel() if degrees.tp > 1 else nullcontext()


def _message_costs(order: Order, meshes: Meshes) -> dict[str, float]:
    """What a micro-batch's activations take to travel, beyond what the smallest message does."""
    found = {}
    if order.degrees.tp > 1:
        full = _gathered_s(order, meshes, order.sequence)
        least = _gathered_s(order, meshes, order.degrees.tp)
        both_ways_s = max(0.0, full - least)
        # Attention and the dense layer gather and scatter each; the ends scatter and gather once.
        found = {"layer_message_s": 4.0 * both_ways_s, "ends_message_s": 2.0 * both_ways_s}
    if order.pipelined:
        positions = order.sequence // order.degrees.tp
        stream = torch.zeros(order.micro_batch, positions, order.config.hidden)
        found["send_s"] = _median_s(lambda: _there_and_back(stream))
    return found


def _gathered_s(order: Order, meshes: Meshes, positions: int) -> float:
    """Gathering a stream that is split by its positions, and scattering its gradient."""
    from torch.distributed.tensor import DTensor, Replicate, Shard

    mesh = meshes.dense["tp"]
    shape = (order.micro_batch, positions // order.degrees.tp, order.config.hidden)
    own_BSD = torch.zeros(shape, requires_grad=True)
    seed = torch.ones(order.micro_batch, positions, order.config.hidden)

    def run() -> None:
        split = DTensor.from_local(own_BSD, mesh, [Shard(1)])
        split.redistribute(mesh, [Replicate()]).to_local().backward(seed)

    return _median_s(run)


def _there_and_back(stream: Tensor) -> None:
    import torch.distributed as dist

    rank, last = dist.get_rank(), dist.get_world_size() - 1
    for source, target in ((0, last), (last, 0)):
        if rank == source:
            dist.send(stream, target)
        elif rank == target:
            dist.recv(stream, source)


def _sum_of(number: Tensor) -> None:
    import torch.distributed as dist

    dist.all_reduce(number)


def _built(config: DecoderConfig, part: Part, meshes: Meshes | None) -> Decoder:
    with torch.device("meta"):
        model = Decoder(config, part)
    parallelize(model, meshes, Treatment())
    model.allocate(torch.device("cpu"))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    return model.train()


def _layers(config: DecoderConfig, tokens: tuple[int, int], meshes: Meshes | None = None) -> _Piece:
    model = _built(config, Part(layers=range(_LAYERS), first=False, last=False), meshes)
    split = 1 if meshes is None else meshes.degrees.tp
    shape = (tokens[0], tokens[1] // split, config.hidden)
    stream_BSD = torch.randn(shape, requires_grad=True)
    return model, lambda: model(stream_BSD).sum()


def _embed(config: DecoderConfig, tokens: tuple[int, int]) -> _Piece:
    model = _built(config, Part(layers=(), last=False), None)
    tokens_BS = torch.randint(config.vocab, tokens)
    return model, lambda: model(tokens_BS).sum()


def _head(config: DecoderConfig, tokens: tuple[int, int]) -> _Piece:
    model = _built(config, Part(layers=(), first=False), None)
    stream_BSD = torch.randn(*tokens, config.hidden, requires_grad=True)
    targets_T = torch.randint(config.vocab, (tokens[0] * tokens[1],))
    return model, lambda: _loss(model(stream_BSD), targets_T, None)


def _ends(config: DecoderConfig, tokens: tuple[int, int], meshes: Meshes | None = None) -> _Piece:
    model = _built(config, Part(layers=()), meshes)
    tokens_BS = torch.randint(config.vocab, tokens)
    return model, lambda: _loss(model(tokens_BS), tokens_BS.flatten(), meshes)


def _loss(logits_BSV: Tensor, targets_T: Tensor, meshes: Meshes | None) -> Tensor:
    logits_TV = logits_BSV.flatten(0, 1)
    if meshes is not None and meshes.degrees.tp > 1:
        from torch.distributed.tensor import DTensor, Shard

        logits_TV = DTensor.from_local(logits_TV, meshes.dense["tp"], [Shard(1)])
    return F.cross_entropy(logits_TV, targets_T, reduction="sum")


def _median_s(run: Callable[[], object]) -> float:
    """The median time, begun by all ranks together."""
    import torch.distributed as dist

    run()
    found = []
    for _ in range(_REPEATS):
        if dist.is_initialized():
            dist.barrier()
        found.append(_timed_s(run))
    return statistics.median(found)


def data_s(sampler: Sampler, count: int, repeats: int = 10) -> float:
    """The median time of drawing one rank's sequences of a step."""
    firsts = range(0, repeats * count, count)
    return statistics.median(_timed_s(partial(sampler.batch, at, count)) for at in firsts)


def _timed_s(run: Callable[[], object]) -> float:
    begun_s = time.perf_counter()
    run()
    return time.perf_counter() - begun_s


def main() -> None:
    """One rank: `python -m sextant.systems.pretraining.kernels ORDER`, and its ranks beside it."""
    import torch.distributed as dist

    warnings.filterwarnings("ignore", message="FSDP2-wrapped module")
    plain = json.loads(sys.argv[1])
    order = Order(
        **{
            **plain,
            "config": from_mapping(plain["config"]),
            "degrees": Degrees(**plain["degrees"]),
        }
    )
    torch.set_num_threads(order.threads)
    ranks = order.degrees.ranks
    if ranks > 1:
        dist.init_process_group(
            "gloo",
            init_method=f"file://{sys.argv[2]}",
            rank=int(os.environ["RANK"]),
            world_size=ranks,
            timeout=timedelta(seconds=_LONGEST_S),
        )
    print(TOLD + json.dumps(measure(order)), flush=True)
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
