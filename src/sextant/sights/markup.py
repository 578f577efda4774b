"""HTML built from small escaped pieces, and the page that holds them."""

from __future__ import annotations

from html import escape
from importlib.resources import files


class Html(str):
    """Text that is already HTML; any other `str` is escaped on its way in."""

    __slots__ = ()


def tag(name: str, *children: str | None, **attributes: str | None) -> Html:
    """An element with its children and attributes escaped; `class_` is the attribute `class`."""
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{words}>{join(*children)}</{name}>")


def join(*children: str | None) -> Html:
    """Pieces one after another."""
    return Html("".join(safe(child) for child in children if child is not None))


def safe(text: str) -> str:
    """HTML as it is; anything else escaped, without control characters."""
    if isinstance(text, Html):
        return text
    return escape("".join(c if c.isprintable() else " " for c in text))


def div(class_: str, *children: str | None, **attributes: str | None) -> Html:
    """A `div` of a class."""
    return tag("div", *children, class_=class_, **attributes)


def span(class_: str, *children: str | None, **attributes: str | None) -> Html:
    """A `span` of a class."""
    return tag("span", *children, class_=class_, **attributes)


def breakable(name: str) -> Html:
    """A name of a quantity, which may break after an underscore."""
    return Html("_<wbr>".join(safe(part) for part in name.split("_")))


def place(left: float, width: float | None = None) -> str:
    """A style that puts a piece of a bar at a share of its track."""
    sized = "" if width is None else f";width:{100 * width:.2f}%"
    return f"left:{100 * left:.2f}%{sized}"


def page(title: str, body: Html, size_pt: float) -> str:
    """A self-contained page: one sheet of paper, its type at `size_pt` when printed.

    On a screen the whole sheet grows evenly until its type is comfortable to read.
    """
    css = files("sextant.sights").joinpath("page.css").read_text(encoding="utf-8")
    grow = min(1.9, max(1.25, 10.2 / size_pt))
    wide = 210.0 / (size_pt * 0.352778)
    sizes = f"--size:{size_pt:.2f}pt;--grow:{grow:.3f};--wide:{wide:.3f}"
    return (
        "<!doctype html>\n"
        f'<html lang="en" style="{sizes}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        # An empty icon keeps a browser from asking the server for one.
        '<link rel="icon" href="data:,">'
        f"<title>{safe(title)}</title><style>\n{css}</style></head>"
        f'<body><main class="sheet">{body}</main></body></html>\n'
    )
