"""Arrays are read by many threads at once."""

import gc
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sextant.search.arrays import read_array


class Knot:
    """Garbage for the collector alone, which lets other threads run when it goes."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        time.sleep(0)


@pytest.fixture
def keen_collector() -> Iterator[None]:
    thresholds = gc.get_threshold()
    gc.set_threshold(20)
    yield
    gc.set_threshold(*thresholds)


@pytest.mark.usefixtures("keen_collector")
def test_threads_read_at_once(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(12).reshape(3, 4))

    def read(_: int) -> int:
        total = 0
        for _ in range(200):
            Knot()
            total += int(read_array(tmp_path / "a.npy").sum())
        return total

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read, range(4))) == [66 * 200] * 4


def test_what_is_not_an_array_is_a_value_error(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"no array")
    with pytest.raises(ValueError, match="pickle"):
        read_array(tmp_path / "a.npy")
    (tmp_path / "a.npy").write_bytes(b"")
    with pytest.raises(ValueError, match="empty"):
        read_array(tmp_path / "a.npy")
