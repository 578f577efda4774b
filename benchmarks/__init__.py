"""Benchmarks: each prints its figure, its bar and its limit or peer, and goes into a dated JSON."""
