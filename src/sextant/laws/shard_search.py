"""What one query costs one core, by the kind of index: scan, graph, and lists of codes refined."""

from __future__ import annotations

import math

from sextant.laws import index, recall, scan


def lists_for(num_vectors: float, lists_per_root: float) -> int:
    """Inverted lists of an index: the power of two nearest to `lists_per_root x sqrt(n)`.

    Comparing c centroids and then n / c codes a probe costs least near c = sqrt(n).
    Source: Jegou, Douze and Schmid 2011, section IV; Faiss wiki, Guidelines to choose an index.
    """
    return int(2 ** round(math.log2(max(1.0, lists_per_root * math.sqrt(max(1.0, num_vectors))))))


def refined_probes(wanted: float, scale: float, lists: float) -> float:
    """Lists to probe so that refined candidates reach a recall.

    Half of what may be missed is left to the codes, so the lists must hold `(1 + r) / 2`:
    `scale x ln(2 / (1 - r))^2`.
    Known error: fitted at one point (0.955 of 1,000,000 x 128); tuning at the build decides.
    Source: `recall.probes_for`.
    """
    return min(lists, max(1.0, recall.probes_for((1.0 + wanted) / 2.0, scale)))


def refined_factor(wanted: float, times_miss: float) -> float:
    """Candidates over hits that are scored again: `times_miss / (1 - r)`, at least 1.

    Source: measured (facts: refined_factor_times_miss).
    """
    return max(1.0, times_miss / max(1.0 - wanted, 1e-3))


def lists_s(
    num_vectors: float,
    dims: float,
    lists: float,
    probes: float,
    code_bytes: float,
    code_bytes_per_s: float,
    scan_bytes_per_s: float,
) -> float:
    """Comparing a query with all centroids and with the codes of the probed lists.

    `lists x 4 d / scan + n x probes / lists x code / rate`.
    Source: Jegou, Douze and Schmid 2011, section IV (IVFADC).
    """
    centroids = lists * index.flat_bytes_per_vector(dims, index.FLOAT_BYTES)
    codes = scan.inverted_list_vectors(num_vectors, lists, probes) * code_bytes
    return centroids / scan_bytes_per_s + codes / code_bytes_per_s


def graph_s(
    num_vectors: float,
    row_bytes: float,
    ef: float,
    links: float,
    vector_s: float,
    scan_bytes_per_s: float,
) -> float:
    """Walking a graph: each vector that is met waits for memory, then streams.

    Source: `scan.graph_vectors` and `scan.random_read_s`.
    """
    met = scan.graph_vectors(num_vectors, ef, links)
    return scan.random_read_s(met, row_bytes, scan_bytes_per_s, vector_s)
