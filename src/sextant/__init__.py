"""Sextant: takes a sight of a distributed AI system on six axes, then sails it."""

__version__ = "0.1.0"
