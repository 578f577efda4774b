"""Embedding tables: how many bytes they take, and how many a step moves."""

from __future__ import annotations

import math

ADAGRAD_BYTES_PER_ROW = 4.0
"""Row-wise Adagrad keeps one fp32 sum of squares for a row."""
STATE_BYTES = 4.0
"""An optimizer's state is kept in fp32, whatever the table's own type."""


def table_bytes(rows: float, dims: float, bytes_per_number: float) -> float:
    """Bytes of the embeddings alone: `rows x dims x bytes a number`.

    Source: the textbook's worked example, 2x10^9 rows x 128 x 4 B = 1.024 TB.
    """
    return rows * dims * bytes_per_number


def optimizer_bytes(rows: float, dims: float, states_per_number: float, row_wise: bool) -> float:
    """Bytes of optimizer state: so many fp32 numbers an element, or one a row.

    Adam keeps two moments an element (2 x 4 B), Adagrad one, SGD none; row-wise Adagrad keeps
    the mean square of a row's gradient, 4 B a row.
    Source: Kingma and Ba 2015, algorithm 1; Mudigere et al. 2022, section 4 (row-wise Adagrad).
    """
    if row_wise:
        return rows * ADAGRAD_BYTES_PER_ROW
    return rows * dims * states_per_number * STATE_BYTES


def shards_for(total_bytes: float, usable_bytes_per_shard: float) -> float:
    """The least whole number of equal shards that fit: `ceil(total / usable)`, at least one."""
    return max(1.0, float(math.ceil(total_bytes / usable_bytes_per_shard * (1.0 - 1e-12))))


def gather_bytes(rows_touched: float, row_bytes: float) -> float:
    """Bytes that a look-up reads: exactly the rows it touches, `rows x bytes a row`."""
    return rows_touched * row_bytes
