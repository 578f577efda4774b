"""Bytes of a vector index: flat, graph, inverted lists of codes.

Letters as in Faiss: `d` dims, `M` links (or code bytes), `n` vectors.
"""

from __future__ import annotations

from dataclasses import dataclass

ID_BYTES = 8.0
"""Inverted lists store a 64-bit id with each code (Faiss `idx_t`)."""
LINK_BYTES = 4.0
"""A graph stores 32-bit ids of its neighbours (Faiss `storage_idx_t`)."""
FLOAT_BYTES = 4.0
FAST_SCAN_BLOCK = 32
"""Fast scan keeps codes in blocks of 32, so each list is padded to a multiple of it."""
PAGE_BYTES = 4096.0


def flat_bytes_per_vector(dims: float, element_bytes: float) -> float:
    """Bytes of one vector as it is: `d x bytes of an element`.

    Source: Faiss wiki, Faiss indexes: Flat takes 4 d bytes.
    """
    return dims * element_bytes


def hnsw_link_bytes(links: float) -> float:
    """Bytes of one vector's links in the ground layer of an HNSW graph, `2 x M x 4`.

    The ground layer holds 2 M neighbours, 4 bytes each; the layers above are left out.
    Source: Faiss wiki, Faiss indexes: HNSW takes 4 d + 2 M x 4 bytes a vector.
    """
    return 2.0 * links * LINK_BYTES


def hnsw_graph_bytes(links: float) -> float:
    """Bytes of one vector's whole part in an HNSW graph, as a file holds it.

    A vector reaches level l with probability M^-l, so on average it is on 1 / (M - 1) layers
    above the ground, each with M links; beside them a level (4 bytes) and an offset (8):
    `4 (2 M + M / (M - 1)) + 12`. M = 32: 272.1; a file of 100,000 x 64 takes 528.2 = 256 + 272.2.
    Source: Malkov and Yashunin 2018, section 4; Faiss `impl/HNSW.h`.
    """
    above = links / max(links - 1.0, 1.0)
    return LINK_BYTES * (2.0 * links + above) + 12.0


def hnsw_bytes_per_vector(dims: float, element_bytes: float, links: float) -> float:
    """Bytes of one vector with its links: `d x bytes + 2 M x 4`.

    Known error: 0.5% low at 768 dims and 3% low at 64 against a Faiss file (`hnsw_graph_bytes`).
    Source: Faiss wiki, Faiss indexes.
    """
    return flat_bytes_per_vector(dims, element_bytes) + hnsw_link_bytes(links)


def pq_code_bytes(dims: float, dims_per_byte: float) -> float:
    """Bytes of a product-quantized code: one byte (256 centroids) for each group of dims.

    Source: Jegou, Douze and Schmid 2011, section II.B.
    """
    return max(1.0, dims / dims_per_byte)


def rabitq_code_bytes(dims: float) -> float:
    """Bytes of a RaBitQ code: one bit a dim, and two fp32 factors.

    Source: Gao and Long 2024, section 3; Faiss `IndexRaBitQ` (d / 8 + 8).
    """
    return dims / 8.0 + 2.0 * FLOAT_BYTES


@dataclass(frozen=True, kw_only=True, slots=True)
class InvertedLists:
    """The shape of an inverted-list index: `IVF<lists>[_HNSW<links>],<code>`.

    `centroid_dims` are the dims after a transform (OPQ), `input_dims` those before one (0: none);
    `links` is 0 where the centroids are searched flat; `fast_scan` is the 4-bit kind.
    """

    lists: float
    centroid_dims: float
    code_bytes: float
    links: float = 0.0
    fast_scan: bool = False
    input_dims: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexBytes:
    """Where the bytes of an inverted-list index are; they sum to `total`."""

    codes: float
    ids: float
    centroids: float
    graph: float
    padding: float

    @property
    def total(self) -> float:
        """Bytes of the index file."""
        return self.codes + self.ids + self.centroids + self.graph + self.padding


def inverted_list_bytes(count: float, shape: InvertedLists) -> IndexBytes:
    """Bytes of an inverted-list index file.

    `n (code + 8)` for codes and ids; a centroid a list, `lists x d x 4`, with a graph over them
    where there is one; fast scan pads each list by half a block of 32 codes on average; the
    transform's matrix is `d_in x d x 4` and each list has its length (8).
    Known error: 0.03% low on Deep1B (16.70 GB), 0.1% low on Deep1M (Faiss wiki's files).
    Source: Faiss `invlists/InvertedLists.h`, `impl/pq4_fast_scan.h`.
    """
    padding = shape.lists * shape.code_bytes * FAST_SCAN_BLOCK / 2.0 if shape.fast_scan else 0.0
    return IndexBytes(
        codes=count * shape.code_bytes,
        ids=count * ID_BYTES + shape.lists * 8.0,
        centroids=FLOAT_BYTES * shape.centroid_dims * (shape.lists + shape.input_dims),
        graph=shape.lists * hnsw_graph_bytes(shape.links) if shape.links else 0.0,
        padding=padding,
    )


def resident_bytes(count: float, shape: InvertedLists) -> float:
    """Memory that an inverted-list index takes once loaded.

    The file's bytes and, with fast scan, a page (4,096 bytes) a list: each list's block is
    aligned on its own and rounded up to a power of two, so that on average half a page is lost
    at either end of what was touched.
    Known error: within 1% on the Faiss rows of the billion-scale challenge (the same without the
    pages is 9.7% low); the form of the term was found on those rows, its size is the page's.
    Source: Faiss `utils/AlignedTable.h`; Simhadri et al. 2022 (rows of track 1).
    """
    pages = shape.lists * PAGE_BYTES if shape.fast_scan else 0.0
    return inverted_list_bytes(count, shape).total + pages
