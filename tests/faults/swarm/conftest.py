"""Where the modules are that these tests share, among themselves and with those of the fleet."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "fleet")]
