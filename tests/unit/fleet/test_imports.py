from __future__ import annotations

import subprocess
import sys

import sextant.fleet


def test_the_fleet_imports_no_engine_until_it_starts() -> None:
    program = (
        "import sys, sextant.fleet; "
        "print(sorted({'ray', 'zenoh', 'msgpack', 'psutil', 'torch', 'faiss'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_public_names_are_there_and_sorted() -> None:
    assert list(sextant.fleet.__all__) == sorted(sextant.fleet.__all__)
    assert all(hasattr(sextant.fleet, name) for name in sextant.fleet.__all__)
