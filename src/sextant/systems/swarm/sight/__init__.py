"""Seeing a flight: a page and a video, from the same record."""
