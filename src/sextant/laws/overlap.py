"""Communication beside computing: what of it a step feels."""

from __future__ import annotations

import numpy as np

from sextant.laws.constants import Constants
from sextant.laws.job import Column


def beside_s(moved_s: Column, computed_s: Column, constants: Constants) -> Column:
    """What sending for `moved_s` beside `computed_s` of computing adds to the computing.

    What is longer counts; the shorter slows it by `gather_leak` of itself, since communication
    kernels take processors and bandwidth from the others.
    Source: facts `gather_leak`; Zhao et al. 2023, arXiv 2304.11277, section 3.3 (prefetching).
    """
    leak = constants.gather_leak * np.minimum(moved_s, computed_s)
    added: Column = np.maximum(0.0, moved_s - computed_s) + leak
    return added


def chunked_s(moved_s: Column, computed_s: Column, chunks: Column, constants: Constants) -> Column:
    """The same of a message in so many pieces, of which one has nothing to hide behind.

    The first piece of an input, or the last of an output, is waited for.
    Source: NVIDIA, Megatron Bridge user guide, communication overlap ("exposes only one DP
    communication chunk"; tensor traffic in as many pieces as ranks).
    """
    alone = moved_s / np.maximum(chunks, 1.0)
    added: Column = alone + beside_s(moved_s - alone, computed_s, constants)
    return added
