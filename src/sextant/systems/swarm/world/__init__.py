"""The physics, and nothing else: a drone learns of it through its own sensors only."""
