"""What a person and a program read of a build, a change and a check of an index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sextant.search.manifest import Manifest
from sextant.systems.rag.build import BuildReport
from sextant.systems.rag.folding.log import Folded
from sextant.systems.rag.grow import ChangeReport
from sextant.units import show, show_seconds

_MOST_NAMES = 10


def build_json(report: BuildReport, out: str) -> dict[str, Any]:
    """As `sextant rag index --json` prints it."""
    manifest = report.manifest
    return {
        **_index_json(manifest, out),
        "dims": manifest.dims,
        "model": manifest.about.get("model"),
        "faiss": manifest.faiss,
        "index_recall": manifest.index_recall,
        "up_to_date": report.up_to_date,
        "embedded": report.embedded,
        "reused": report.reused,
        "folded": [_folded_json(one) for one in report.folded],
        "seconds": report.seconds,
        "embed_s": report.embed_s,
        "because": list(report.because),
        "warnings": list(report.troubles),
    }


def build_text(report: BuildReport, out: str) -> str:
    """What was built, and what to do with it."""
    manifest = report.manifest
    size = _size(manifest)
    if report.up_to_date:
        return f"{out} is up to date: {size}."
    rate = f", {report.embedded / report.embed_s:.0f} passages/s" if report.embedded else ""
    again = f"  {report.reused:,} passages had their vectors already.\n" if report.reused else ""
    because = "".join(f"  {line}.\n" for line in report.because)
    return (
        f"{out}: {size}.\n"
        f"  {manifest.about.get('model')}, {manifest.dims} dimensions, {manifest.faiss}; "
        f"built in {show_seconds(report.seconds)}{rate}.\n"
        f"{because}{again}{_folded_text(report.folded)}"
        f'\n  sextant rag ask "..." --index {out}'
    )


def change_json(report: ChangeReport, index: str) -> dict[str, Any]:
    """As `sextant rag add|delete --json` prints it."""
    return {
        **_index_json(report.manifest, index),
        "added": report.added,
        "replaced": report.replaced,
        "deleted": list(report.deleted),
        "unchanged": report.unchanged,
        "folded": [_folded_json(one) for one in report.folded],
        "returned": list(report.returned),
        "absent": list(report.absent),
        "embedded": report.embedded,
        "reused": report.reused,
        "seconds": report.seconds,
        "warnings": list(report.troubles),
    }


def change_text(report: ChangeReport, index: str) -> str:
    """What has changed."""
    counts = {
        "added": report.added,
        "replaced": report.replaced,
        "deleted": len(report.deleted),
        "unchanged": report.unchanged,
    }
    told = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    lines = [
        f"{index}: {told or 'nothing new'}, in {show_seconds(report.seconds)}; "
        f"now {_size(report.manifest)}.\n",
        _folded_text(report.folded),
    ]
    if report.returned:
        lines.append(f"  Indexed again, as what stood for them is gone: {_names(report.returned)}.")
    return "".join(lines).rstrip("\n")


def check_json(manifest: Manifest, index: str, folded: Sequence[Folded]) -> dict[str, Any]:
    """As `sextant rag check --json` prints it, of an index that is whole."""
    segments = [len(shard.segments) for shard in manifest.shards]
    dead = sum(one.vectors - one.live_vectors for one in manifest.segments())
    return {
        **_index_json(manifest, index),
        "whole": True,
        "segments": sum(segments),
        "deleted_chunks": dead,
        "folded": [_folded_json(one) for one in folded],
    }


def check_text(manifest: Manifest, index: str, folded: Sequence[Folded]) -> str:
    """That an index is whole, and what it remembers."""
    return f"{index} is whole: {_size(manifest)}.\n{_folded_text(folded)}".rstrip("\n")


def _index_json(manifest: Manifest, index: str) -> dict[str, Any]:
    return {
        "index": index,
        "generation": manifest.generation,
        "documents": manifest.documents,
        "chunks": manifest.vectors,
        "shards": len(manifest.shards),
        "bytes": manifest.bytes,
    }


def _folded_json(one: Folded) -> dict[str, Any]:
    return {"doc": one.id, "kept": one.kept, "similarity": one.similarity, "exact": one.exact}


def _size(manifest: Manifest) -> str:
    shards = len(manifest.shards)
    return (
        f"{manifest.documents:,} documents, {manifest.vectors:,} passages in {shards} "
        f"shard{'s' * (shards > 1)}, {show(manifest.bytes, 'B')}"
    )


def _folded_text(folded: Sequence[Folded]) -> str:
    """How many near-duplicates were folded, with an example."""
    if not folded:
        return ""
    exact = sum(one.exact for one in folded)
    first = folded[0]
    return (
        f"  {len(folded):,} near-duplicates folded, {exact:,} of them exact, such as {first.id} "
        f"into {first.kept} (--keep-duplicates keeps them).\n"
    )


def _names(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more:,} more" if more > 0 else "")
