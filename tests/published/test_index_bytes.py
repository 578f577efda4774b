"""The index-bytes law against published files and resident memory (Faiss wiki, NeurIPS'21)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from sextant.laws import scan
from sextant.laws.index import InvertedLists, inverted_list_bytes, resident_bytes

ROWS = Path(__file__).parents[2].parent / "shared" / "data" / "backtests" / "index.json"
_LISTS = re.compile(r"IVF(\d+)(?:_HNSW(lib\w+?_)?(\d+))?")
_OPQ = re.compile(r"OPQ\d+_(\d+)")


def _shape(row: dict[str, Any]) -> InvertedLists | None:
    """Reads the law's inputs off a Faiss factory string; None where the row gives none."""
    key, code = row["index"].get("key"), row["index"].get("code_bytes")
    if not key or not code or (lists := _LISTS.search(key)) is None:
        return None
    if lists[2]:  # its centroids are 8-bit, in a library of its own
        return None
    rotated = _OPQ.search(key)
    return InvertedLists(
        lists=float(lists[1]),
        centroid_dims=float(rotated[1] if rotated else row["vectors"]["dims"]),
        code_bytes=float(code),
        links=float(lists[3] or 0),
        fast_scan="x4fs" in key,
        input_dims=float(row["vectors"]["dims"]) if rotated else 0.0,
    )


def _errors(measured: str) -> dict[str, float]:
    """Relative error by index (operating points of one index share its bytes)."""
    if not ROWS.exists():
        pytest.skip("the published rows are not beside this checkout")
    law = inverted_list_bytes if measured == "index_bytes" else None
    errors = {}
    for row in json.loads(ROWS.read_text(encoding="utf-8")):
        value, shape = row["measured"].get(measured), None
        if value and "count" in row["vectors"]:
            shape = _shape(row)
        if shape is None:
            continue
        count = row["vectors"]["count"]
        found = law(count, shape).total if law else resident_bytes(count, shape)
        errors[f"{row['case']} {row['vectors']['dataset']} {row['index']['key']}"] = (
            found / value - 1.0
        )
    return errors


def test_index_files_are_within_a_fifth_of_a_percent() -> None:
    errors = _errors("index_bytes")
    assert len(errors) >= 3
    assert max(abs(e) for e in errors.values()) < 0.002, errors


def test_resident_memory_is_within_two_percent() -> None:
    errors = _errors("resident_bytes")
    assert len(errors) >= 4
    assert max(abs(e) for e in errors.values()) < 0.02, errors


def test_throughput_of_billion_scale_inverted_lists() -> None:
    """Queries a second of Faiss on 32 virtual cores: 225 points, 15% off in the mean."""
    if not ROWS.exists():
        pytest.skip("the published rows are not beside this checkout")
    errors = []
    for row in json.loads(ROWS.read_text(encoding="utf-8")):
        asked, shape = row["search"], _shape(row) if row["case"] == "bigann21-t1" else None
        if shape is None or not (shape.fast_scan and "ef_search" in asked):
            continue
        compared = scan.graph_vectors(shape.lists, asked["ef_search"], shape.links)
        seconds = scan.random_read_s(compared, 4.0 * shape.centroid_dims, 8e9, 100e-9, 10e-6)
        codes = scan.inverted_list_vectors(row["vectors"]["count"], shape.lists, asked["nprobe"])
        seconds += scan.sequential_read_s(codes * shape.code_bytes, 2e9)
        errors.append(16.0 / seconds / row["measured"]["queries_per_s"] - 1.0)
    assert len(errors) >= 200
    assert sum(abs(e) for e in errors) / len(errors) < 0.15
