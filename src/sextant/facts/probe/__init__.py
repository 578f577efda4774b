"""Measures this machine with microbenchmarks that never run a system.

Each returns unit costs by name; a missing engine leaves its own out. `run_probe` makes a machine
of them, which `keep` stores among the user's facts under the name `here`.
"""

from sextant.facts.probe.run import HERE, keep, refresh, run_probe

__all__ = ["HERE", "keep", "refresh", "run_probe"]
