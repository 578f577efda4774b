"""One rank that takes two steps, and counts the bytes of its tensors: see `memory_per_rank`."""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from typing import Any


def main() -> None:
    """Counts, and prints one line of JSON."""
    import torch
    import torch.distributed as dist

    from sextant.decoder.config import DecoderConfig
    from sextant.decoder.mesh import Degrees, make_meshes
    from sextant.decoder.parallelize import Treatment
    from sextant.decoder.shards import local_part
    from sextant.systems.pretraining.job import Recipe
    from sextant.systems.pretraining.step import Stepper, build_parts
    from sextant.systems.pretraining.trainer import peak_memory_bytes

    order = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    degrees = Degrees.parse(order["layout"])
    meshes = None
    if degrees.ranks > 1:
        dist.init_process_group("gloo", timeout=timedelta(seconds=120))
        meshes = make_meshes(degrees)
    config = DecoderConfig(**order["model"])
    parts = build_parts(config, meshes, Treatment(), seed=0, device=torch.device("cpu"))
    stepper = Stepper(parts, meshes, Recipe(), micro_batch=order["micro_batch"])
    each = order["batch"] // degrees.data
    tokens = torch.randint(config.vocab, (each, order["sequence"]))
    stepper.step(tokens, tokens, learning_rate=1e-4)
    weights = [p for part in parts for p in part.parameters()]
    buffers = {_storage(b) for part in parts for b in part.buffers()}
    kept: dict[int, int] = {}
    most = 0

    def pack(tensor: Any) -> Any:
        nonlocal most
        # Asked anew each time: while it works, fully sharded weights are gathered copies.
        known = buffers | {_storage(p) for part in parts for p in part.parameters()}
        held = _Held(tensor, kept, known)
        most = max(most, sum(kept.values()))
        return held

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda held: held.tensor):
        gradients = _gradient_bytes(stepper, tokens)
    told = {
        "parameters": sum(_bytes(local_part(p)) for p in weights),
        "gradients": gradients,
        "optimizer": sum(
            _bytes(local_part(value))
            for state in stepper.optimizer.state.values()
            for value in state.values()
            if value.dim()
        ),
        "activations": most,
        "process": peak_memory_bytes(torch.device("cpu")),
    }
    print("HELD " + json.dumps(told), flush=True)
    if meshes is not None:
        dist.barrier()
        dist.destroy_process_group()


class _Held:
    """One saved tensor; its storage counts until the last that shares it is let go."""

    def __init__(self, tensor: Any, kept: dict[int, int], known: set[int]) -> None:
        self.tensor, self._kept = tensor, kept
        self._counts = False
        local = _plain(tensor)
        self._key = _storage(local)
        size = local.untyped_storage().nbytes()
        self._counts = self._key not in known and local.is_floating_point()
        if self._counts:
            _USES[self._key] = _USES.get(self._key, 0) + 1
            kept[self._key] = size

    def __del__(self) -> None:
        if self._counts:
            _USES[self._key] -= 1
            if not _USES[self._key]:
                self._kept.pop(self._key, None)


_USES: dict[int, int] = {}


def _gradient_bytes(stepper: Any, tokens: Any) -> int:
    """Takes a step, and counts gradients just before they are used."""
    from sextant.decoder.shards import local_part

    counted = 0
    whole = stepper.optimizer.step

    def step() -> None:
        nonlocal counted
        grads = [p.grad for part in stepper.parts for p in part.parameters()]
        counted = sum(_bytes(local_part(g)) for g in grads if g is not None)
        whole()

    stepper.optimizer.step = step
    stepper.step(tokens, tokens, learning_rate=1e-4)
    return counted


def _storage(tensor: Any) -> int:
    return int(_plain(tensor).untyped_storage().data_ptr())


def _plain(tensor: Any) -> Any:
    """The tensor that has memory, under what splits it and what is still on its way."""
    local = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return getattr(local, "elem", local)


def _bytes(tensor: Any) -> int:
    return int(tensor.numel() * tensor.element_size())


if __name__ == "__main__":
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    main()
