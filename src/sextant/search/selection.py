"""Which rows a search may return, told to Faiss before it scans.

A row that is left out is no candidate: it takes no place among the K best, and its vector decides
nothing. Left-out rows still lie between the others, so an approximate index that looks as far as it
always does finds fewer of the rest; its effort therefore grows as the allowed share shrinks.

Shape suffixes: N rows of a shard.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]


def parameters(faiss: Any, index: Any, allowed_N: Mask) -> Any | None:
    """Faiss's search parameters for the allowed rows; None where this kind of index takes none.

    The index's own effort (nprobe, efSearch, k_factor) is kept, and widened by the share of the
    rows that is left out.
    """
    bits = np.packbits(allowed_N, bitorder="little")
    share = max(1, int(np.count_nonzero(allowed_N))) / max(1, len(allowed_N))
    return _parameters(faiss, index, faiss.IDSelectorBitmap(bits), share)


def by_scan(faiss: Any, index: Any, num_allowed: int) -> Any | None:
    """The flat storage of a graph index, where scanning the allowed rows is the cheaper way.

    A graph search that keeps a share f of what it meets must walk ef / f nodes of M links; a scan
    looks at f N rows: the scan wins below f^2 = ef M / N.
    """
    index = faiss.downcast_index(index)
    if not isinstance(index, faiss.IndexHNSW):
        return None
    links = index.hnsw.nb_neighbors(0)
    walked = index.hnsw.efSearch * links * index.ntotal / max(1, num_allowed)
    return faiss.downcast_index(index.storage) if num_allowed <= walked else None


def _parameters(faiss: Any, index: Any, selector: Any, share: float) -> Any | None:
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        inner = _parameters(faiss, index.index, selector, share)
        return inner and faiss.SearchParametersPreTransform(index_params=inner)
    if isinstance(index, faiss.IndexRefine):
        inner = _parameters(faiss, index.base_index, selector, share)
        return inner and faiss.IndexRefineSearchParameters(
            k_factor=index.k_factor, base_index_params=inner
        )
    if isinstance(index, faiss.IndexIVF):
        nprobe = min(index.nlist, math.ceil(index.nprobe / share))
        return faiss.SearchParametersIVF(sel=selector, nprobe=nprobe)
    if isinstance(index, faiss.IndexHNSW):
        ef = min(index.ntotal, math.ceil(index.hnsw.efSearch / share))
        return faiss.SearchParametersHNSW(sel=selector, efSearch=ef)
    if isinstance(index, faiss.IndexFlat | faiss.IndexScalarQuantizer | faiss.IndexRaBitQ):
        return faiss.SearchParameters(sel=selector)
    return None
