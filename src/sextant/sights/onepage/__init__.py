"""The one-page answer for a plan: for a terminal, in Markdown, and as a page that prints."""

from sextant.sights.onepage.html import html_page
from sextant.sights.onepage.markdown import markdown_page
from sextant.sights.onepage.terminal import print_page, terminal_page

__all__ = ["html_page", "markdown_page", "print_page", "terminal_page"]
