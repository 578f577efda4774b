"""The optimizer's step: a pass over the weights at the memory's speed."""

from __future__ import annotations

import numpy as np

from sextant.laws.constants import Constants
from sextant.laws.job import Column, Job

ADAM_BYTES = 30.0
"""Read gradient, master weight and two moments (16), write the last three and 16-bit weights (14).

Source: Kingma and Ba 2015, arXiv 1412.6980, algorithm 1, in mixed precision (arXiv 1710.03740).
"""
HOST_BYTES_PER_S = 20e9
"""A GPU's share of a host that holds the optimizer: its link and its part of the host's memory.

Source: PCIe 4.0 x16, about 25 GB/s one way, and 400 GB/s of host memory over eight GPUs.
"""


def optimizer_s(parameters: Column, job: Job, constants: Constants) -> Column:
    """Adam over a GPU's share of the parameters.

    ZeRO splits the pass over data and context ranks; offloading makes it at the host's speed.
    Source: `ADAM_BYTES` over the bandwidth.
    """
    share = np.where(job.zero >= 1.0, job.dp * job.cp, 1.0)
    speed = np.where(job.offload > 0, HOST_BYTES_PER_S, job.bandwidth * constants.stream_share)
    return parameters / share * ADAM_BYTES / speed
