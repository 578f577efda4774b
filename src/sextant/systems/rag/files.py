"""The files of a folder, and those of text (.txt, .md, .rst and .html), each one document."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from sextant.errors import InputError, missing_engine
from sextant.systems.rag.document import KINDS, Document, Troubles

MAX_FILE_BYTES = 64 << 20
_PLAIN = frozenset({".txt", ".text", ".md", ".markdown", ".rst"})
_HTML = frozenset({".html", ".htm", ".xhtml"})
LINES = frozenset({".jsonl", ".ndjson"})
PDF = frozenset({".pdf"})
PARQUET = frozenset({".parquet", ".pq"})
_READ = _PLAIN | _HTML | LINES | PDF | PARQUET
_LOOK_BYTES = 8192
_MOST_BROKEN = 0.3
_RST_UNDERLINE = re.compile(r"[=\-~^\"'#*+]{3,}")
_BLANK_LINES = re.compile(r"[ \t]*\n\s*\n\s*")


def files_of(folder: Path, troubles: Troubles) -> Iterator[Path]:
    """The files of a kind that is read, under `folder` in sorted order, hidden ones left out.

    Links are followed within the folder alone: what lies outside is no business of whoever put the
    link there. What a link leads to is read once, under its own name unless that is hidden.
    """
    root = _real(folder)
    yield from _walk(folder, _Links(root, troubles), (root,))


def leads_out(path: Path, folder: Path) -> bool:
    """Whether a path under a folder is a link to somewhere else, or lies behind one."""
    return not _real(path).is_relative_to(_real(folder))


class _Links:
    """What is read of that to which links lead; notes what is not."""

    def __init__(self, root: Path, troubles: Troubles) -> None:
        self.troubles = troubles
        self._root = root
        self._read: set[Path] = set()
        """What has no other name than that of the link that led there."""

    def follows(self, link: Path, above: tuple[Path, ...]) -> bool:
        """Whether what a link leads to is read in its place."""
        real = _real(link)
        if real in above:
            self.troubles.note("link that leads back to its own folder, skipped", str(link))
        elif not real.is_relative_to(self._root):
            self.troubles.note("link that leads out of the folder, skipped", str(link))
        elif not real.exists():
            self.troubles.note("link that leads nowhere, skipped", str(link))
        elif self._has_its_own_name(real):
            self.troubles.note("link to what is read anyway, skipped", str(link))
        else:
            # A folder twice would be read as often as there are ways to it.
            return not real.is_dir() or self._first(real, link)
        return False

    def first(self, path: Path) -> bool:
        """Whether a file has not been read by another name."""
        real = _real(path)
        return self._has_its_own_name(real) or self._first(real, path)

    def _first(self, real: Path, path: Path) -> bool:
        if real in self._read:
            self.troubles.note("link to what is read anyway, skipped", str(path))
            return False
        self._read.add(real)
        return True

    def _has_its_own_name(self, real: Path) -> bool:
        """Whether it is come by without a link."""
        hidden = any(part.startswith(".") for part in real.relative_to(self._root).parts)
        return not hidden and (real.is_dir() or real.suffix.lower() in _READ)


def _real(path: Path) -> Path:
    # Path.resolve raises where links lead round in a ring.
    return Path(os.path.realpath(path))


def _walk(folder: Path, links: _Links, above: tuple[Path, ...]) -> Iterator[Path]:
    try:
        names = sorted(entry.name for entry in os.scandir(folder))
    except OSError as error:
        links.troubles.note("unreadable folder, skipped", f"{folder} ({error.strerror})")
        return
    for name in names:
        path = folder / name
        if name.startswith(".") or (path.is_symlink() and not links.follows(path, above)):
            continue
        if path.is_dir():
            yield from _walk(path, links, (*above, _real(path)))
        elif path.suffix.lower() not in _READ:
            links.troubles.note("file of a kind that is not read, skipped", str(path))
        elif links.first(path):
            yield path


def read_file(
    path: Path, name: str, troubles: Troubles, *, strict: bool = False
) -> Document | None:
    """The document in one file, or None with a trouble noted; `strict` raises instead.

    Bytes that are not UTF-8 are replaced and noted.

    Raises:
        InputError: `strict`, and the file cannot be read, is too large, or is not of a kind that is
            read.
    """
    kind = path.suffix.lower()
    why = None
    data = b""
    if kind not in _PLAIN | _HTML:
        why = "file of a kind that is not read"
    else:
        try:
            if not path.is_file():
                why = "not a regular file"
            elif path.stat().st_size > MAX_FILE_BYTES:
                why = f"file over {MAX_FILE_BYTES >> 20} MiB"
            else:
                data = path.read_bytes()
                why = "binary file" if _is_binary(data) else None
        except OSError as error:
            why = f"unreadable file ({error.strerror})"
    if why is not None:
        if strict:
            raise InputError(why, where=str(path), hint=f"what is read: {KINDS}")
        troubles.note(f"{why}, skipped", str(path))
        return None
    text = decode(data, str(path), troubles)
    if kind in _HTML:
        title, text = _html(text)
    else:
        title = _first_heading(text)
    # A name is a title for want of a better one, but no document by itself.
    return Document(name, title or (path.stem if text.strip() else ""), text)


def _is_binary(data: bytes) -> bool:
    """Whether the beginning has zero bytes, or is mostly what UTF-8 is not."""
    head = data[:_LOOK_BYTES]
    if not head.startswith((b"\xff\xfe", b"\xfe\xff")) and b"\0" in head:
        return True
    text = head.decode("utf-8", errors="replace")
    return text.count("\ufffd") > _MOST_BROKEN * max(1, len(text))


def decode(data: bytes, where: str, troubles: Troubles) -> str:
    """The text in some bytes; what is not UTF-8 becomes U+FFFD and is noted. One kind of line
    end.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        troubles.note("not UTF-8, bytes replaced", where)
        text = data.decode("utf-8-sig", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")


def _first_heading(text: str) -> str:
    """The heading that a Markdown or reStructuredText file begins with, or nothing."""
    lines = [line.strip() for line in text[:2000].splitlines() if line.strip()][:3]
    if lines and lines[0].startswith("#"):
        return lines[0].lstrip("#").strip()
    if len(lines) > 1 and _RST_UNDERLINE.fullmatch(lines[1]):
        return lines[0]
    if len(lines) > 2 and _RST_UNDERLINE.fullmatch(lines[0]):
        return lines[1]
    return ""


def _html(source: str) -> tuple[str, str]:
    """The title and the readable text of a page; scripts and styles are not text."""
    try:
        import warnings

        from bs4 import BeautifulSoup, MarkupResemblesLocatorWarning, XMLParsedAsHTMLWarning
    except ImportError:
        raise missing_engine("beautifulsoup4", "rag") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MarkupResemblesLocatorWarning)
        warnings.simplefilter("ignore", XMLParsedAsHTMLWarning)
        try:
            page = BeautifulSoup(source, "html.parser")
            for tag in page(["script", "style", "template", "noscript"]):
                tag.decompose()
            title = page.title.get_text(" ", strip=True) if page.title else ""
            if page.head:
                page.head.decompose()
            text = page.get_text("\n")
        except (RecursionError, AssertionError, ValueError):
            # html.parser gives up on some broken pages, and very deep ones exhaust the stack.
            title, text = "", re.sub(r"<[^<>]*>", " ", source)
    lines = (line.strip() for line in _BLANK_LINES.sub("\n\n", text).splitlines())
    return title, "\n".join(lines).strip()
