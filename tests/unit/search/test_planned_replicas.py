"""`rag serve` starts as many replicas as the index was planned with."""

from pathlib import Path

import numpy as np
import pytest

from sextant.cli.rag_serve import _planned_replicas
from sextant.errors import InputError
from sextant.search.rows import Row
from sextant.search.writer import IndexWriter


def published(folder: Path, about: dict[str, object]) -> Path:
    with IndexWriter(folder, key="c" * 64, dims=4, num_shards=1, space="s") as writer:
        writer.add([Row("d", b"")], np.ones((1, 4), np.float32) / 2)
        writer.publish(about)
    return folder


@pytest.mark.parametrize(
    ("about", "replicas"),
    [({"plan": {"replicas": 3}}, 3), ({}, 1), ({"plan": {"replicas": 10_000}}, 64)],
)
def test_replicas_of_the_plan(tmp_path: Path, about: dict[str, object], replicas: int) -> None:
    assert _planned_replicas(published(tmp_path / "index", about)) == replicas


def test_an_index_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        _planned_replicas(tmp_path)
