"""One rank that takes two steps, and counts the bytes of its tensors: see `memory_per_rank`."""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta


def main() -> None:
    """Counts, and prints one line of JSON."""
    import torch
    import torch.distributed as dist

    from sextant.decoder.config import DecoderConfig
    from sextant.decoder.mesh import Degrees, make_meshes
    from sextant.decoder.parallelize import Treatment
    from sextant.systems.pretraining.counted import counted_step
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
    tokens = torch.randint(config.vocab, (order["batch"] // degrees.data, order["sequence"]))
    # The first makes moments and schedules.
    stepper.step(tokens, tokens, learning_rate=1e-4)
    counted = counted_step(stepper, tokens)
    told = {name.removesuffix("_bytes"): held for name, held in counted.items()}
    told["process"] = peak_memory_bytes(torch.device("cpu"))
    print("HELD " + json.dumps(told), flush=True)
    if meshes is not None:
        dist.barrier()
        dist.destroy_process_group()


if __name__ == "__main__":
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    main()
