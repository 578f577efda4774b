"""What is true of hardware and links: TOML rows with sources, and the probe of this machine."""

from sextant.facts.machine import Fact, Machine
from sextant.facts.store import Facts, home, load_facts

__all__ = ["Fact", "Facts", "Machine", "home", "load_facts"]
