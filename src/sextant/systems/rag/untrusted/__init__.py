"""Reading PDF and Parquet, whose parsers a hostile file may hang, crash or make eat all memory.

They run in a process of their own, with bounds on its memory and time. A file that exceeds them
costs that process and is named; the corpus goes on.
"""
