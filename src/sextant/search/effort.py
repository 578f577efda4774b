"""How hard a search looks: the lists it probes, the candidates a graph walk keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sextant.search.kinds import faiss_module, inverted_lists

PROBES, GRAPH, FACTOR, MAPPED = "nprobe", "efSearch", "k_factor", "mapped"
"""Names in what is tuned. The first two are Faiss's own; the third is how many times as many
candidates as hits are scored again by their raw vectors, the fourth whether these are mapped."""


def set_effort(index: Any, tuned: Mapping[str, int]) -> None:
    """Give an index the effort that was tuned for it; it keeps its own where none was."""
    faiss = faiss_module()
    if (name := effort_name(index)) in tuned:
        set_one(index, name, tuned[name])
    index = faiss.downcast_index(index)
    if FACTOR in tuned and isinstance(index, faiss.IndexRefine):
        index.k_factor = tuned[FACTOR]


def set_one(index: Any, name: str, effort: int) -> None:
    """Set the effort of this name, wherever in the index it lies."""
    lists = inverted_lists(index)
    setattr(graph_of(index) if lists is None else lists, name, effort)


def effort_name(index: Any) -> str:
    """Which effort a kind of index has: `nprobe`, `efSearch`, or none (empty)."""
    if inverted_lists(index) is not None:
        return PROBES
    return GRAPH if graph_of(index) is not None else ""


def most_effort(index: Any) -> int:
    """The effort at which a search looks at everything."""
    lists = inverted_lists(index)
    return int(lists.nlist if lists is not None else max(1, index.ntotal))


def graph_of(index: Any) -> Any | None:
    """The HNSW graph of an index, under what is put around it; None if it has none."""
    faiss = faiss_module()
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexRefine):
        return graph_of(index.base_index)
    if isinstance(index, faiss.IndexPreTransform):
        return graph_of(index.index)
    return index.hnsw if isinstance(index, faiss.IndexHNSW) else None


def is_plain_graph(index: Any) -> bool:
    """Whether an index is an HNSW graph and nothing around it: its rows can be put in order."""
    faiss = faiss_module()
    index = faiss.downcast_index(index)
    if not isinstance(index, faiss.IndexHNSW):
        return False
    return isinstance(faiss.downcast_index(index.storage), faiss.IndexFlatCodes)
