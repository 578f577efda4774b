"""Unit costs for predicting a training: single kernels at its sizes; no model, no trainer.

Shape suffixes: T tokens of one micro-batch, B sequences, H heads, S positions, D of a head.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812

from sextant.decoder.config import DecoderConfig
from sextant.errors import EngineError
from sextant.plan.training_rehearsal import KernelCosts
from sextant.systems.pretraining.sampler import Sampler

_REPEATS = 7
_IMPORTS = "import torch, torch.distributed.checkpoint, torch.distributed.fsdp"
_LONGEST_START_S = 120.0
_REDUCE = """
import sys, time, torch, torch.distributed as dist
rank, ranks, count, repeats = map(int, sys.argv[2:])
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method="file://" + sys.argv[1], rank=rank, world_size=ranks)
numbers, found = torch.ones(count), []
for _ in range(repeats):
    begun_s = time.perf_counter()
    dist.all_reduce(numbers)
    found.append(time.perf_counter() - begun_s)
print(sorted(found)[repeats // 2])
dist.destroy_process_group()
"""


def kernel_costs(
    config: DecoderConfig,
    sampler: Sampler,
    *,
    sequence: int,
    micro_batch: int,
    parameters: int,
    ranks: int,
) -> KernelCosts:
    """Measures every unit cost on one thread; some seconds.

    Raises:
        EngineError: processes cannot meet on this machine.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return KernelCosts(
            layer_s=_layer_s(config, sequence, micro_batch),
            head_s=_head_s(config, sequence * micro_batch),
            adam_s=_adam_s(parameters),
            start_s=_start_s(),
            sample_s=_median_s(lambda: sampler.sample(1)),
            reduce_s=_reduce_s(parameters, ranks),
        )
    finally:
        torch.set_num_threads(threads)


def _layer_s(config: DecoderConfig, sequence: int, micro_batch: int) -> float:
    """The products, attention, norms, rotations and gate of one layer, both ways."""
    tokens, width = sequence * micro_batch, config.head_dim
    queries, keys = config.heads * width, config.kv_heads * width
    sizes = [
        (config.hidden, queries + 2 * keys),
        (queries, config.hidden),
        (config.hidden, 2 * config.ffn),
        (config.ffn, config.hidden),
    ]
    took = sum(_product_s(tokens, a, b) for a, b in sizes)
    heads_BHSD = torch.randn(micro_batch, config.heads, sequence, width, requires_grad=True)
    took += _both_ways_s(
        lambda: F.scaled_dot_product_attention(heads_BHSD, heads_BHSD, heads_BHSD, is_causal=True)
    )
    stream = torch.randn(tokens, config.hidden, requires_grad=True)
    took += 2.0 * _both_ways_s(lambda: F.rms_norm(stream, (config.hidden,)) + stream)
    gate = torch.randn(tokens, config.ffn, requires_grad=True)
    took += _both_ways_s(lambda: F.silu(gate) * gate)
    turned = torch.randn(tokens, queries + keys, requires_grad=True)
    return took + _both_ways_s(lambda: turned * 0.5 + turned.flip(-1) * 0.5)


def _head_s(config: DecoderConfig, tokens: int) -> float:
    logits = torch.randn(tokens, config.vocab, requires_grad=True)
    wanted = torch.randint(config.vocab, (tokens,))
    loss_s = _both_ways_s(lambda: F.cross_entropy(logits, wanted, reduction="sum"))
    return loss_s + _product_s(tokens, config.hidden, config.vocab)


def _product_s(rows: int, inner: int, columns: int) -> float:
    left = torch.randn(rows, inner, requires_grad=True)
    right = torch.randn(columns, inner, requires_grad=True)
    return _both_ways_s(lambda: F.linear(left, right))


def _adam_s(parameters: int) -> float:
    weights = torch.nn.Parameter(torch.zeros(parameters))
    weights.grad = torch.ones(parameters)
    optimizer = torch.optim.AdamW([weights], fused=True)
    return _median_s(lambda: optimizer.step())


def _both_ways_s(forward: Callable[[], torch.Tensor]) -> float:
    seed: list[torch.Tensor] = []

    def run() -> None:
        out = forward()
        if not seed:
            seed.append(torch.ones_like(out))
        out.backward(seed[0])

    return _median_s(run)


def _median_s(run: Callable[[], object]) -> float:
    run()
    found = []
    for _ in range(_REPEATS):
        begun_s = time.perf_counter()
        run()
        found.append(time.perf_counter() - begun_s)
    return statistics.median(found)


def _start_s() -> float:
    begun_s = time.perf_counter()
    subprocess.run([sys.executable, "-c", _IMPORTS], check=False, timeout=_LONGEST_START_S)
    return time.perf_counter() - begun_s


def _reduce_s(count: int, ranks: int) -> float:
    """An all-reduce of so many numbers by gloo, between processes that do nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-c", _REDUCE, f"{folder}/meet"]
        running = [
            subprocess.Popen(
                [*words, str(rank), str(ranks), str(count), str(_REPEATS)],
                stdout=subprocess.PIPE,
                text=True,
            )
            for rank in range(ranks)
        ]
        try:
            told = [one.communicate(timeout=_LONGEST_START_S)[0] for one in running]
            return float(told[0])
        except (ValueError, subprocess.TimeoutExpired):
            raise EngineError("gloo cannot sum between processes here") from None
        finally:
            for one in running:
                one.kill()


def data_s(sampler: Sampler, count: int, repeats: int = 10) -> float:
    """The median time of drawing one rank's sequences of a step."""
    firsts = range(0, repeats * count, count)
    return statistics.median(_timed_s(partial(sampler.batch, at, count)) for at in firsts)


def _timed_s(run: Callable[[], object]) -> float:
    begun_s = time.perf_counter()
    run()
    return time.perf_counter() - begun_s
