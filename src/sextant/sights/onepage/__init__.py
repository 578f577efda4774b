"""The one-page answer for a plan: for a terminal, in Markdown, and as a page that prints.

Each has a module of its own, so that a terminal does not wait for the page's.
"""
